"""Hooks of schemathesis: whose role does not reach learns that and nothing else, and who may is never told that it may not.

`NTA_ROLE` is the role that the run asks with: nobody, viewer, operator or admin. `NTA_TOKEN` is what it shows, and `NTA_KEPT` the identity
of that token: it may try to revoke others.
"""

import os

import schemathesis

# What sensors send an administrator may send as well, and nobody below.
RANKS = {"nobody": 0, "public": 0, "viewer": 1, "operator": 2, "admin": 3, "sensor": 3}
HAS = os.environ["NTA_ROLE"]
SHOWN = f"Bearer {os.environ['NTA_TOKEN']}"
KEPT = os.environ["NTA_KEPT"]
# Asked to revoke the run's own token, it asks for one that there is not.
NONE = 1 << 40


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.operation.definition.raw.get("operationId") == "revoke_token":
        if str(case.path_parameters.get("id")) == KEPT:
            case.path_parameters["id"] = NONE


@schemathesis.check
def the_role_decides(ctx, response, case):
    operation = case.operation
    if case.method.upper() != operation.method.upper():
        return  # another method than the one that the role is of
    needed = operation.definition.raw["x-role"]
    # Schemathesis also leaves the token out, or shows nonsense in its place.
    shows = HAS != "nobody" and response.request.headers.get("Authorization") == SHOWN
    has, status = HAS if shows else "nobody", response.status_code
    if RANKS[has] < RANKS[needed]:
        refused = 403 if shows else 401
        assert status == refused, f"{has} gets {status} where {needed} is needed"
    else:
        assert status != 401, f"{has} gets 401 where {needed} is needed"
        if status == 403:
            field = response.json().get("field")
            assert field in ("Origin", "Sec-Fetch-Site"), f"{has} gets 403 where {needed} is needed: {field}"
