"""The words by which the rule tells computing from other instruments: one pattern an idea."""

from __future__ import annotations

import re

# Up to three words may stand between the parts of a phrase: "computer (HPC) cluster".
_BETWEEN = r"\W+(?:[\w/-]+\W+){0,3}?"


def words(patterns: str) -> re.Pattern[str]:
    """Return one pattern for several, parted by ", ", none of which begins inside a word; case does not count.

    Where " ... " stands in a pattern, up to three words may be between.
    """
    either = patterns.replace(", ", "|").replace(" ... ", _BETWEEN)
    return re.compile(rf"(?<!\w)(?:{either})", re.IGNORECASE)


# Meetings, people, plans: nothing is bought.
NO_PURCHASE = words(
    r"workshops?\b, conference\b, travel\b, intergovernmental, technical assistance, toolkit, planning\b, "
    r"a study\b"
)

COMPUTING = words(
    r"super-?\s?comput\w*, high[- ]?performance[- ](?:(?:central|hybrid|parallel|research|scientific|campus"
    r"|cloud|and|data) )*(?:comput\w+|cluster), HPC\b, GPUs?\b, graphics?[- ]process\w+, beowulf, "
    r"(?:comput\w+|linux|PC|parallel|data|CPU|cores?|hadoop|analytics?|memory|\w*informatics?|shared|primary"
    r"|nodes?|heterogeneous|virtual\w*) ... clusters?\b(?! tool), cluster[- ](?:comput\w+|grid|nodes?), "
    r"comput\w+\s+(?:[\w/-]+\s+){0,2}?(?:facilit\w+|resources?|infrastructure|hardware|equipment|systems?"
    r"|platforms?|capabilit\w+|capacity|instrument\w*|environments?|servers?|nodes?|cent(?:er|re)s?|cloud"
    r"|laborator\w+|power|engine|grid)\b, (?:cloud|scientific|parallel|shared[- ]memory|distributed|grid"
    r"|reconfigurable|big data|intensive|scale|research|multi-?core|many-?core) comput\w+, (?:campus|parallel"
    r"|shared|memory|multi-?processor|performance|vector) computers?\b, shared[- ]memory, "
    r"cyber-?\s?(?:infrastructure|instrument), (?:tera|peta)-?(?:scale|flops?), "
    r"computers?(?=\s*$|\s+(?:for|to)\b), informatics (?:\w+ )?cloud, "
    r"(?:comput\w+|data|AI|GPU|application|rack|blade) servers?, data analy\w+ (?:platforms?|systems?"
    r"|cluster)"
)

TESTBED = words(r"test-?\s?beds?\b")
# Computing that is itself what is studied.
STUDIED = words(
    r"test-?\s?beds?\b, emulat\w+, architecture\b, dependab\w+, assured\b, cyber-?physical, edge computing"
)

INSTRUMENT = words(
    r"\w*microscop\w*, \w*spectro\w*, \w*tomogra\w*, velocimet\w*, interferomet\w*, \w*diffract\w*, NMRs?\b, "
    r"EPR\b, PIV\b, [fs]?MRI\b, EEG\b, \w*chromatogra\w*, \w*sequenc\w+, \w*cytomet\w*, \w*sorter\w*, "
    r"\w*lithogra\w*, lasers?\b, radars?\b, lidars?\b, telescop\w*, detectors?\b, \w*sensors?\b, sensing, "
    r"\w*robot\w*, \w*beam\w*, x-rays?\b, imag(?:ing|er)\b, cameras?\b, scann\w+, cluster tool, deposition, "
    r"sputter\w*, probes?\b, vibromet\w*, reactor\w*, chambers?\b, profiler\w*, antennas?\b, magnet\w*, "
    r"motion capture, haptic\w*, \w*vehicles?\b, buoys?\b, seism\w*, \w*simulators?\b, hardware-in-the-loop, "
    r"drones?\b, vessels?\b, greenhouse, quantum, gesture\w*, holodeck, observator\w+"
)

# Pictures and rooms to look at them, whatever computer draws them.
DISPLAY = words(
    r"visuali[sz]\w+, visual\b, virtual (?:reality|environment|world)\w*, virtualized attentive, immersive, "
    r"CAVE\w*, displays?\b, augment\w+, telepresence, power ?wall, tables?\b, video"
)
# Named beside pictures, these say that the computer may be the thing.
COMPUTER_ROOM = words(
    r"clusters?\b(?! tool), super-?comput\w*, comput\w+ (?:and \w+ )?facilit\w+, cyber-?\s?infrastructure, "
    r"model(?:l?ing)?\b"
)

STORING = words(r"(?<!energy )(?<!hydrogen )(?<!gas )(?<!heat )(?<!power )storage, archiv\w+, data lifecycle")
NETWORKING = words(
    r"network(?:ing)? (?:equipment|infrastructure|hardware), dynamic network, "
    r"(?:high-bandwidth|campus|optical|research) networks?\b"
)

# Without one of these a title gives no reason to look for more than a plain statement in the abstract.
HINT = words(
    r"comput\w*, HPC\b, data\b, cyber\w*, \w*informati\w*, hardware, servers?\b, cloud, simulation, "
    r"learning, AI\b, \w*intelligen\w*, analytics?\b, model(?:l?ing)?\b, hybrid, grid"
)
BOUGHT = words(
    r"super-?comput(?:er|ing)s?\b(?! cent), (?:comput\w+|HPC|GPU|linux|beowulf|CPU|servers?|nodes?|cores?"
    r"|memory|data|hadoop) ... clusters?\b, cluster\W+(?:of|with|comput\w+|consist\w+"
    r"|compris\w+) ... (?:comput\w+|servers?|nodes?|GPUs?|processors?|cores?|CPUs?|PCs?|workstations?"
    r"|machines|tesla)\b, (?:compute|computing|computational|GPU|CPU) nodes?\b, "
    r"high[- ]performance comput(?:ing|ers?|ational|e)\b ... (?:system|cluster|facilit\w+|resource"
    r"|infrastructure|hardware|equipment|platform|instrument|environment), HPC (?:system|cluster|facilit\w+"
    r"|resource|infrastructure|hardware|equipment|platform|instrument), (?:tera|peta)-?flops?\b, GPUs\b, "
    r"\d+ (?:cores|processors|servers)\b, blade (?:server|system), "
    r"shared[- ]memory (?:comput\w+|system|machine|subsystem), parallel computers?\b, comput\w+ (?:servers?"
    r"|hardware|equipment|facility|instrument|system|infrastructure|resources?|needs)\b, latest computing, "
    r"comput\w+ devices\b, (?:instrument|system|platform)s? for high[- ]performance comput\w+, "
    r"GPU\)?[- ](?:based|accelerated|enabled) (?:comput\w+|instrument|platform|servers?|systems?), "
    r"deep[- ]learning (?:platform|servers?|hardware|workstations?|appliance)\b, "
    r"composable (?:\w+[- ]){0,3}?(?:platform|infrastructure|system|comput\w+), "
    r"(?:existing|current) (?:\w+ )?cluster\b"
)
PURCHASED = words(r"acqui\w+, purchas\w+, procur\w+, deploy\w*, instal\w+")
ACQUIRED = words(
    r"acqui\w+, purchas\w+, procur\w+, deploy\w*, instal\w+, build\w*, construct\w*, upgrad\w+, expan\w+, "
    r"provid\w+, consist\w*, includ\w*, fund\w*, support\w*, develop\w*, enabl\w*, establish\w*, address\w*, "
    r"integrat\w*, compris\w+, will be, equip\w*, enhanc\w+, instrument, award, is an?\b"
)
# A computer that follows at once on the verb is what is bought, whatever the title calls it.
STATED = re.compile(
    r"(?<!\w)(?:acqui\w+|purchas\w+|procur\w+|deploy\w*|instal\w+|build(?:s|ing)?\b(?! (?:up)?on\b)"
    r"|upgrad\w+|expan\w+)"
    r"\W+(?:[\w/'-]+\W+){0,8}?" + BOUGHT.pattern,
    re.IGNORECASE,
)

ACCELERATOR = words(
    r"\w*GPUs?\b, graphics?[- ]process\w+, graphical process\w+, nvidia, tesla\b, CUDA\b, xeon phi, "
    r"knights (?:landing|corner), many integrated core, co-?processors?\b, DGX, [AHV]100s?\b, "
    r"tensor (?:core|process)\w*, TPUs?\b, cell (?:BE|broadband), FPGAs?\b, field[- ]programmable gate, "
    r"(?:hardware|comput\w+|AI|learning|many-?core|CPU|node|mixed) accelerators?\b, accelerator[- ](?:based"
    r"|enabled|equipped|nodes?|cards?|hardware)"
)
