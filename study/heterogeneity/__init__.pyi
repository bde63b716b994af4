from .allocation import policy as policy
from .causal_forest import calibration as calibration
from .causal_forest import forest as forest
from .page import Report as Report
from .page import effects_by_group as effects_by_group
from .page import report as report
from .scored import Scores as Scores
from .scored import score as score
