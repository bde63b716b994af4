from .bought import classify as classify
from .bought import concerned as concerned
