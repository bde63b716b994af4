"""The words by which the rule tells computing from other instruments: one pattern an idea."""

from __future__ import annotations

import re


def words(*patterns: str) -> re.Pattern[str]:
    """Return one pattern for several, none of which begins inside a word; case does not count."""
    return re.compile(r"(?<!\w)(?:" + "|".join(patterns) + ")", re.IGNORECASE)


# Up to three words may stand between the parts of a phrase: "computer (HPC) cluster".
_BETWEEN = r"\W+(?:[\w/-]+\W+){0,3}?"

# Meetings, people, plans: nothing is bought.
NO_PURCHASE = words(
    r"workshops?\b",
    r"conference\b",
    r"travel\b",
    r"intergovernmental",
    r"technical assistance",
    r"toolkit",
    r"planning\b",
    r"a study\b",
)

COMPUTING = words(
    r"super-?\s?comput\w*",
    r"high[- ]?performance[- ](?:(?:central|hybrid|parallel|research|scientific|campus|cloud|and|data) )*"
    r"(?:comput\w+|cluster)",
    r"HPC\b",
    r"GPUs?\b",
    r"graphics?[- ]process\w+",
    r"beowulf",
    r"(?:comput\w+|linux|PC|parallel|data|CPU|cores?|hadoop|analytics?|memory|\w*informatics?|shared|primary|nodes?"
    r"|heterogeneous|virtual\w*)" + _BETWEEN + r"clusters?\b(?! tool)",
    r"cluster[- ](?:comput\w+|grid|nodes?)",
    r"comput\w+\s+(?:[\w/-]+\s+){0,2}?(?:facilit\w+|resources?|infrastructure|hardware|equipment|systems?"
    r"|platforms?|capabilit\w+|capacity|instrument\w*|environments?|servers?|nodes?|cent(?:er|re)s?|cloud"
    r"|laborator\w+|power|engine|grid)\b",
    r"(?:cloud|scientific|parallel|shared[- ]memory|distributed|grid|reconfigurable|big data|intensive|scale"
    r"|research|multi-?core|many-?core) comput\w+",
    r"(?:campus|parallel|shared|memory|multi-?processor|performance|vector) computers?\b",
    r"shared[- ]memory",
    r"cyber-?\s?(?:infrastructure|instrument)",
    r"(?:tera|peta)-?(?:scale|flops?)",
    r"computers?(?=\s*$|\s+(?:for|to)\b)",
    r"informatics (?:\w+ )?cloud",
    r"(?:comput\w+|data|AI|GPU|application|rack|blade) servers?",
    r"data analy\w+ (?:platforms?|systems?|cluster)",
)

TESTBED = words(r"test-?\s?beds?\b")
# Computing that is itself what is studied.
STUDIED = words(
    TESTBED.pattern,
    r"emulat\w+",
    r"architecture\b",
    r"dependab\w+",
    r"assured\b",
    r"cyber-?physical",
    r"edge computing",
)

INSTRUMENT = words(
    r"\w*microscop\w*",
    r"\w*spectro\w*",
    r"\w*tomogra\w*",
    r"velocimet\w*",
    r"interferomet\w*",
    r"\w*diffract\w*",
    r"NMRs?\b",
    r"EPR\b",
    r"PIV\b",
    r"[fs]?MRI\b",
    r"EEG\b",
    r"\w*chromatogra\w*",
    r"\w*sequenc\w+",
    r"\w*cytomet\w*",
    r"\w*sorter\w*",
    r"\w*lithogra\w*",
    r"lasers?\b",
    r"radars?\b",
    r"lidars?\b",
    r"telescop\w*",
    r"detectors?\b",
    r"\w*sensors?\b",
    r"sensing",
    r"\w*robot\w*",
    r"\w*beam\w*",
    r"x-rays?\b",
    r"imag(?:ing|er)\b",
    r"cameras?\b",
    r"scann\w+",
    r"cluster tool",
    r"deposition",
    r"sputter\w*",
    r"probes?\b",
    r"vibromet\w*",
    r"reactor\w*",
    r"chambers?\b",
    r"profiler\w*",
    r"antennas?\b",
    r"magnet\w*",
    r"motion capture",
    r"haptic\w*",
    r"\w*vehicles?\b",
    r"buoys?\b",
    r"seism\w*",
    r"\w*simulators?\b",
    r"hardware-in-the-loop",
    r"drones?\b",
    r"vessels?\b",
    r"greenhouse",
    r"quantum",
    r"gesture\w*",
    r"holodeck",
    r"observator\w+",
)

# Pictures and rooms to look at them, whatever computer draws them.
DISPLAY = words(
    r"visuali[sz]\w+",
    r"visual\b",
    r"virtual (?:reality|environment|world)\w*",
    r"virtualized attentive",
    r"immersive",
    r"CAVE\w*",
    r"displays?\b",
    r"augment\w+",
    r"telepresence",
    r"power ?wall",
    r"tables?\b",
    r"video",
)
# Named beside pictures, these say that the computer may be the thing.
COMPUTER_ROOM = words(
    r"clusters?\b(?! tool)",
    r"super-?comput\w*",
    r"comput\w+ (?:and \w+ )?facilit\w+",
    r"cyber-?\s?infrastructure",
    r"model(?:l?ing)?\b",
)

STORING = words(
    r"(?<!energy )(?<!hydrogen )(?<!gas )(?<!heat )(?<!power )storage",
    r"archiv\w+",
    r"data lifecycle",
)
NETWORKING = words(
    r"network(?:ing)? (?:equipment|infrastructure|hardware)",
    r"dynamic network",
    r"(?:high-bandwidth|campus|optical|research) networks?\b",
)

# Without one of these a title gives no reason to look for more than a plain statement in the abstract.
HINT = words(
    r"comput\w*",
    r"HPC\b",
    r"data\b",
    r"cyber\w*",
    r"\w*informati\w*",
    r"hardware",
    r"servers?\b",
    r"cloud",
    r"simulation",
    r"learning",
    r"AI\b",
    r"\w*intelligen\w*",
    r"analytics?\b",
    r"model(?:l?ing)?\b",
    r"hybrid",
    r"grid",
)
BOUGHT = words(
    r"super-?comput(?:er|ing)s?\b(?! cent)",
    r"(?:comput\w+|HPC|GPU|linux|beowulf|CPU|servers?|nodes?|cores?|memory|data|hadoop)"
    + _BETWEEN
    + r"clusters?\b",
    r"cluster\W+(?:of|with|comput\w+|consist\w+|compris\w+)"
    + _BETWEEN
    + r"(?:comput\w+|servers?|nodes?|GPUs?|processors?|cores?|CPUs?|PCs?|workstations?|machines|tesla)\b",
    r"(?:compute|computing|computational|GPU|CPU) nodes?\b",
    r"high[- ]performance comput(?:ing|ers?|ational|e)\b"
    + _BETWEEN
    + r"(?:system|cluster|facilit\w+|resource|infrastructure|hardware|equipment|platform|instrument|environment)",
    r"HPC (?:system|cluster|facilit\w+|resource|infrastructure|hardware|equipment|platform|instrument)",
    r"(?:tera|peta)-?flops?\b",
    r"GPUs\b",
    r"\d+ (?:cores|processors|servers)\b",
    r"blade (?:server|system)",
    r"shared[- ]memory (?:comput\w+|system|machine|subsystem)",
    r"parallel computers?\b",
    r"comput\w+ (?:servers?|hardware|equipment|facility|instrument|system|infrastructure|resources?|needs)\b",
    r"latest computing",
    r"comput\w+ devices\b",
    r"(?:instrument|system|platform)s? for high[- ]performance comput\w+",
    r"GPU\)?[- ](?:based|accelerated|enabled) (?:comput\w+|instrument|platform|servers?|systems?)",
    r"deep[- ]learning (?:platform|servers?|hardware|workstations?|appliance)\b",
    r"composable (?:\w+[- ]){0,3}?(?:platform|infrastructure|system|comput\w+)",
    r"(?:existing|current) (?:\w+ )?cluster\b",
)
PURCHASED = words(r"acqui\w+", r"purchas\w+", r"procur\w+", r"deploy\w*", r"instal\w+")
ACQUIRED = words(
    r"acqui\w+",
    r"purchas\w+",
    r"procur\w+",
    r"deploy\w*",
    r"instal\w+",
    r"build\w*",
    r"construct\w*",
    r"upgrad\w+",
    r"expan\w+",
    r"provid\w+",
    r"consist\w*",
    r"includ\w*",
    r"fund\w*",
    r"support\w*",
    r"develop\w*",
    r"enabl\w*",
    r"establish\w*",
    r"address\w*",
    r"integrat\w*",
    r"compris\w+",
    r"will be",
    r"equip\w*",
    r"enhanc\w+",
    r"instrument",
    r"award",
    r"is an?\b",
)
# A computer that follows at once on the verb is what is bought, whatever the title calls it.
STATED = re.compile(
    r"(?<!\w)(?:acqui\w+|purchas\w+|procur\w+|deploy\w*|instal\w+|build(?:s|ing)?\b(?! (?:up)?on\b)|upgrad\w+|expan\w+)"
    r"\W+(?:[\w/'-]+\W+){0,8}?" + BOUGHT.pattern,
    re.IGNORECASE,
)

ACCELERATOR = words(
    r"\w*GPUs?\b",
    r"graphics?[- ]process\w+",
    r"graphical process\w+",
    r"nvidia",
    r"tesla\b",
    r"CUDA\b",
    r"xeon phi",
    r"knights (?:landing|corner)",
    r"many integrated core",
    r"co-?processors?\b",
    r"DGX",
    r"[AHV]100s?\b",
    r"tensor (?:core|process)\w*",
    r"TPUs?\b",
    r"cell (?:BE|broadband)",
    r"FPGAs?\b",
    r"field[- ]programmable gate",
    r"(?:hardware|comput\w+|AI|learning|many-?core|CPU|node|mixed) accelerators?\b",
    r"accelerator[- ](?:based|enabled|equipped|nodes?|cards?|hardware)",
)
