"""Sessions of OPC UA clients with bounds, on the library's server.

What the library leaves open and is closed here: its session tokens are numbers in a row; a session
may use the subscriptions of another one; a connection may open any number of sessions; anybody may
register servers; a request may name any number of nodes.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias, cast

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.server.address_space import MethodService
from asyncua.server.internal_server import InternalServer
from asyncua.server.internal_session import InternalSession
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.uaerrors import UaStatusCodeError

from edge_agent.opcua_server.subscriptions import MAX_ITEMS, Subscriptions
from edge_agent.opcua_server.ua_types import status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from asyncua.crypto.permission_rules import User

    from edge_agent.opcua_server.users import Person, Users
    from edge_agent.ops.access import WrongKeys

log = logging.getLogger("edge_agent.opcua_server")

MAX_OPERATIONS: Final = 1000  # in one request
MAX_UNACKED: Final = 16  # messages of a subscription that wait for an acknowledgement
ACTIVATE_S: Final = 10.0  # a connection without a session is closed after this time
MAX_WAITING: Final = 100  # requests of a connection that are not yet read
_MAX_SESSION_MS: Final = 300_000
_WRONG_LOGINS: Final = frozenset(
    {StatusCodes.BadUserAccessDenied, StatusCodes.BadIdentityTokenInvalid}
)

Call: TypeAlias = "Callable[[Session, ua.CallMethodRequest], Awaitable[ua.CallMethodResult]]"


class SessionServer(InternalServer):
    """The library's server with our sessions and subscriptions.

    call_method: carries out a method of a session. clients: the most sessions at a time.
    """

    def __init__(
        self,
        users: Users,
        wrong: WrongKeys,
        clients: int,
        call_method: Call,
        now_us: Callable[[], int],
    ) -> None:
        super().__init__(user_manager=users)  # type: ignore[arg-type]
        self.wrong = wrong
        self.server_uri = ""
        self.clients = clients
        self.call_method = call_method
        self.method_service: MethodService = _NoThreads(self.aspace)
        self.subscription_service = Subscriptions(self.aspace, self, now_us)
        self.isession.subscription_service = self.subscription_service
        self.certificate_validator = users.validate
        self.allow_remote_admin = False
        self.max_connections = 2 * clients
        self.max_session_timeout_ms = _MAX_SESSION_MS
        self.max_pending_activation_seconds = ACTIVATE_S
        self.max_pending_messages_per_connection = MAX_WAITING
        self.max_unacked_messages_per_subscription = MAX_UNACKED

    async def stop(self) -> None:
        """End, without a wait for the clock's next second."""
        clock, self.time_task = self.time_task, None
        if clock is not None:
            clock.cancel()
        await super().stop()

    @property
    def service(self) -> Subscriptions:
        """The subscriptions of all sessions."""
        return cast("Subscriptions", self.subscription_service)

    @property
    def sessions(self) -> list[Session]:
        """The sessions of clients."""
        return cast("list[Session]", list(self._external_sessions.values()))

    def create_session(
        self,
        name: str,
        user: User | None = None,
        external: bool = False,  # noqa: FBT001, FBT002 (the library's)
    ) -> InternalSession:
        """Create a session for a connection, its address in `name`; one at a time."""
        del user, external
        for one in self.sessions:
            if one.name == name and one.is_activated():
                raise ServiceError(StatusCodes.BadTooManySessions)
            if one.name == name:  # its login was wrong
                self.unregister_external_session(one)
        if len(self._external_sessions) >= self.clients:
            raise ServiceError(StatusCodes.BadTooManySessions)
        return Session(self, self.aspace, self.subscription_service, name, external=True)

    def register_server(self, server: Any, conf: Any = None) -> NoReturn:  # noqa: ANN401
        """Refuse: this is no discovery server, and whoever asks has not said who he is."""
        del server, conf
        raise ServiceError(StatusCodes.BadServiceUnsupported)


class _NoThreads(MethodService):
    """The library's method service without its thread pool, which nobody uses."""

    def stop(self) -> None:
        self._pool.shutdown(wait=False)


class Session(InternalSession):
    """The session of a client."""

    iserver: SessionServer
    subscription_service: Subscriptions

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **options)
        self.iserver.unregister_external_session(self)
        self.auth_token = ua.NodeId(
            ua.ByteString(secrets.token_bytes(32)), ua.Int16(0), ua.NodeIdType.ByteString
        )
        self.iserver.register_external_session(self)

    @property
    def person(self) -> Person:
        """Who it is."""
        return cast("Person", self.user)

    @property
    def origin(self) -> str:
        """The address by which wrong logins are counted."""
        return str(self.name[0]) if isinstance(self.name, tuple) else str(self.name)

    def activate_session(
        self, params: ua.ActivateSessionParameters, peer_certificate: bytes | None
    ) -> ua.ActivateSessionResult:
        """Log in; who guesses passwords waits. An active session keeps its user."""
        if self.iserver.wrong.wait_s(self.origin):
            raise ServiceError(StatusCodes.BadUserAccessDenied)
        before = self.person if self.is_activated() else None
        try:
            result = super().activate_session(params, peer_certificate)
        except (ServiceError, UaStatusCodeError) as error:
            if error.code in _WRONG_LOGINS:
                self.iserver.wrong.count(self.origin)
                log.warning("opc ua login refused", extra={"client": self.origin})
            raise
        if before is not None and before.name != self.person.name:
            self.user = before
            raise ServiceError(StatusCodes.BadUserAccessDenied)
        return result

    # -- requests -----------------------------------------------------------------------------

    async def read(self, params: ua.ReadParameters) -> list[ua.DataValue]:
        """Read attributes."""
        _expect_few(params.NodesToRead)
        return await _in_turns(params.NodesToRead, self._read_some)

    async def _read_some(self, nodes: Sequence[ua.ReadValueId]) -> list[ua.DataValue]:
        return self.iserver.attribute_service.read(ua.ReadParameters(NodesToRead=list(nodes)))

    async def write(self, params: ua.WriteParameters) -> list[ua.StatusCode]:
        """Refuse: commands are methods."""
        _expect_few(params.NodesToWrite)
        return [status(StatusCodes.BadNotWritable) for _ in params.NodesToWrite]

    async def browse(self, params: ua.BrowseParameters) -> list[ua.BrowseResult]:
        """Browse nodes; all references at once."""
        _expect_few(params.NodesToBrowse)
        return await _in_turns(params.NodesToBrowse, self._browse_some)

    async def _browse_some(self, nodes: Sequence[ua.BrowseDescription]) -> list[ua.BrowseResult]:
        return self.iserver.view_service.browse(ua.BrowseParameters(NodesToBrowse=list(nodes)))

    async def translate_browsepaths_to_nodeids(
        self, params: list[ua.BrowsePath]
    ) -> list[ua.BrowsePathResult]:
        """Find nodes by their path."""
        _expect_few(params)
        if any(not one.RelativePath.Elements for one in params):
            raise ServiceError(StatusCodes.BadNothingToDo)
        return await super().translate_browsepaths_to_nodeids(params)

    async def history_read(self, params: ua.HistoryReadParameters) -> NoReturn:
        """Refuse: the history is in the HTTP API."""
        del params
        raise ServiceError(StatusCodes.BadHistoryOperationUnsupported)

    async def call(self, params: list[ua.CallMethodRequest]) -> list[ua.CallMethodResult]:
        """Call methods, in order."""
        _expect_few(params)
        return [await self.iserver.call_method(self, one) for one in params]

    # -- subscriptions ------------------------------------------------------------------------

    def _own(self, number: int) -> None:
        """Refuse the subscription of another session."""
        found = self.subscription_service.subscriptions.get(number)
        if found is None or found.session_id != self.session_id:
            raise ServiceError(StatusCodes.BadSubscriptionIdInvalid)

    def _owns(self, number: int) -> bool:
        return number in self.subscription_service.of_session(self.session_id)

    async def create_monitored_items(
        self, params: ua.CreateMonitoredItemsParameters
    ) -> list[ua.MonitoredItemCreateResult]:
        """Monitor values or events."""
        self._own(params.SubscriptionId)
        _expect_few(params.ItemsToCreate)
        mine = self.subscription_service.of_session(self.session_id)
        subscriptions = self.subscription_service.subscriptions
        count = sum(subscriptions[one].items.count for one in mine)
        if count + len(params.ItemsToCreate) > MAX_ITEMS:
            raise ServiceError(StatusCodes.BadTooManyMonitoredItems)
        return await super().create_monitored_items(params)

    async def modify_monitored_items(
        self, params: ua.ModifyMonitoredItemsParameters
    ) -> list[ua.MonitoredItemModifyResult]:
        """Change own items."""
        self._own(params.SubscriptionId)
        _expect_few(params.ItemsToModify)
        return await super().modify_monitored_items(params)

    async def delete_monitored_items(
        self, params: ua.DeleteMonitoredItemsParameters
    ) -> list[ua.StatusCode]:
        """Delete own items."""
        self._own(params.SubscriptionId)
        _expect_few(params.MonitoredItemIds)
        return await super().delete_monitored_items(params)

    async def set_monitoring_mode(
        self, params: ua.SetMonitoringModeParameters
    ) -> list[ua.StatusCode]:
        """Switch own items."""
        self._own(params.SubscriptionId)
        _expect_few(params.MonitoredItemIds)
        return await super().set_monitoring_mode(params)

    async def set_publishing_mode(
        self, params: ua.SetPublishingModeParameters
    ) -> list[ua.StatusCode]:
        """Switch own subscriptions."""
        _expect_few(params.SubscriptionIds)
        for number in params.SubscriptionIds:
            self._own(number)
        return await super().set_publishing_mode(params)

    async def delete_subscriptions(self, ids: list[int]) -> list[ua.StatusCode]:
        """Delete own subscriptions."""
        _expect_few(ids)
        results = [status(StatusCodes.BadSubscriptionIdInvalid) for _ in ids]
        for place, number in enumerate(ids):
            if self._owns(number):
                results[place] = (await super().delete_subscriptions([number]))[0]
        return results

    def modify_subscription(
        self, params: ua.ModifySubscriptionParameters
    ) -> ua.ModifySubscriptionResult:
        """Answer with the values in use: they stay."""
        self._own(params.SubscriptionId)
        return super().modify_subscription(params)

    def republish(self, params: ua.RepublishParameters) -> ua.NotificationMessage:
        """Send a message again that was not acknowledged."""
        self._own(params.SubscriptionId)
        message = super().republish(params)
        if not message.SequenceNumber:
            raise ServiceError(StatusCodes.BadMessageNotAvailable)
        return message

    async def transfer_subscriptions(  # type: ignore[override]
        self, params: ua.TransferSubscriptionsParameters, callback: Callable[..., Any]
    ) -> list[ua.TransferResult]:
        """Refuse: a client that returns subscribes again and refreshes."""
        del callback
        _expect_few(params.SubscriptionIds)
        code = StatusCodes.BadSubscriptionIdInvalid
        return [ua.TransferResult(StatusCode=status(code)) for _ in params.SubscriptionIds]

    def publish(self, acks: Any = None) -> tuple[int, list[ua.StatusCode]]:  # noqa: ANN401
        """Confirm messages of own subscriptions."""
        mine = self.subscription_service.of_session(self.session_id)
        if not mine:
            raise ServiceError(StatusCodes.BadNoSubscription)
        _expect_few(acks or [])
        results = []
        for ack in acks or []:
            known = ack.SubscriptionId in mine
            if known:
                self.subscription_service.subscriptions[ack.SubscriptionId].publish(
                    [ack.SequenceNumber]
                )
            results.append(
                status(StatusCodes.Good if known else StatusCodes.BadSubscriptionIdInvalid)
            )
        return len(mine), results


def _expect_few(asked: Sequence[object] | None) -> None:
    """Refuse a request about nothing, or about too much."""
    if asked is None or len(asked) > MAX_OPERATIONS:
        raise ServiceError(StatusCodes.BadTooManyOperations)


_AT_ONCE: Final = 100  # nodes; then other work of the loop has its turn


async def _in_turns(
    asked: Sequence[Any], answer: Callable[[Sequence[Any]], Awaitable[list[Any]]]
) -> list[Any]:
    found: list[Any] = []
    for start in range(0, len(asked), _AT_ONCE):
        found += await answer(asked[start : start + _AT_ONCE])
        await asyncio.sleep(0)
    return found
