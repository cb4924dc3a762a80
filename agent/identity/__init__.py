"""Who this station is to others: the fingerprint of its log's key, and the certificate that it shows to the DEMS.

certificate   its request, its installation, and how long it still holds
est           having it made and renewed by the agency's server (RFC 7030)
"""

from agent.identity.certificate import (
    CERTIFICATE as CERTIFICATE,
)
from agent.identity.certificate import (
    Certificate as Certificate,
)
from agent.identity.certificate import (
    Expiry as Expiry,
)
from agent.identity.certificate import (
    expiries as expiries,
)
from agent.identity.certificate import (
    fingerprint as fingerprint,
)
from agent.identity.certificate import (
    install as install,
)
from agent.identity.certificate import (
    look as look,
)
from agent.identity.certificate import (
    pending_key as pending_key,
)
from agent.identity.certificate import (
    renewal as renewal,
)
from agent.identity.certificate import (
    request as request,
)
