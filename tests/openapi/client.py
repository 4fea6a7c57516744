"""What a program does with the client that openapi-python-client makes of the document."""

import sys

from nta_client import AuthenticatedClient
from nta_client.api.about import get_health
from nta_client.api.alerts import change_alert, get_alert, list_alerts
from nta_client.api.windows import list_windows
from nta_client.models import (
    AlertChangeRequest,
    AlertDetail,
    AlertStatus,
    ClearReason,
    Health,
    ListAlertItem,
    ListAlertsTypeItem,
    ListWindowItem,
    Problem,
)

with AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2], raise_on_unexpected_status=True) as client:
    health = get_health.sync(client=client)
    assert isinstance(health, Health), health

    page = list_alerts.sync(client=client, type_=[ListAlertsTypeItem.PORT_SCAN], limit=10)
    assert isinstance(page, ListAlertItem), page
    alert = page.items[0]
    assert alert.clear_reason is ClearReason.RUN_ENDED, alert

    body = AlertChangeRequest(status=AlertStatus.RESOLVED)
    changed = change_alert.sync(alert.id, client=client, body=body)
    assert isinstance(changed, AlertDetail), changed
    assert changed.status is AlertStatus.RESOLVED and changed.status_by == "admin-1", changed

    windows = list_windows.sync(client=client, span="5")
    assert isinstance(windows, ListWindowItem), windows
    assert sum(window.packets for window in windows.items) == 400, windows

    missing = get_alert.sync("0000000000000000", client=client)
    assert isinstance(missing, Problem) and missing.status == 404, missing
    print(alert.id)
