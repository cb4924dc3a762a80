"""What a court gets: a bag (RFC 8493) of captures with all that proves them, made to be verified without us.

    dossier       what is known of each capture, verified before it is told
    manifest      one capture: the device's word apart from our findings; and one recording of several captures
    case          the same in CASE/UCO, for other tools
    certificate   the same on paper, in English and French
    bag           all of it as files, and the sums over them

and, carried as files: verify.sh and VERIFY.txt, which go into each bag; evidock_verify.py, which a reader gets by
another way. A bag cannot show that the log tells no more: a proof says that an entry stands there, not that no other
does.
"""

from agent.custody.export.bag import Labels, export
from agent.custody.export.dossier import Dossier, Keys, Leaf, Quoted, Seal

__all__ = ["Dossier", "Keys", "Labels", "Leaf", "Quoted", "Seal", "export"]
