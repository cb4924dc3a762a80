"""What the journal's entries prove: to the DEMS, to the part that lets a device forget, and to a stranger in court.

    receipt      the DEMS's word that it holds exactly these bytes
    checkpoint   the station's word for the whole journal, and the witnesses' word that it only grew
    policy       whose words count, and how many witnesses it takes, signed by the agency
    witness      how a witness is asked, and how it decides
    proof        one entry's way up to a checkpoint: a file that needs no network to be checked
    tiles        the same journal as static files
    export       captures with all of these, as a folder for a court
    bag          what such a folder proves

The tree itself is `agent.merkle`, the signatures are `agent.note`. All but the last two is arithmetic on bytes that
neither reads nor writes a file or a socket, so that the daemon, the releaser and a court's verifier use the very same
functions.
"""
