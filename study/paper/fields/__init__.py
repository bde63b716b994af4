"""The second question: does a field whose compute grows lose academic-only teams?

Few fields are seen, so every assignment of the treated ones is computed (Abadie, Diamond and Hainmueller 2010; Ahmed
and Wahed 2020 ask the question of venues with generalized synthetic control).
"""
