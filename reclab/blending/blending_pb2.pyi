from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class History(_message.Message):
    __slots__ = ("given", "item_id")
    GIVEN_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    given: bool
    item_id: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, given: _Optional[bool] = ..., item_id: _Optional[_Iterable[int]] = ...) -> None: ...

class Ask(_message.Message):
    __slots__ = ("version", "n_offers", "user_id", "time_ms", "req_id", "n", "network", "history")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    N_OFFERS_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    REQ_ID_FIELD_NUMBER: _ClassVar[int]
    N_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    version: int
    n_offers: int
    user_id: _containers.RepeatedScalarFieldContainer[int]
    time_ms: _containers.RepeatedScalarFieldContainer[int]
    req_id: _containers.RepeatedScalarFieldContainer[int]
    n: _containers.RepeatedScalarFieldContainer[int]
    network: _containers.RepeatedScalarFieldContainer[int]
    history: _containers.RepeatedCompositeFieldContainer[History]
    def __init__(self, version: _Optional[int] = ..., n_offers: _Optional[int] = ..., user_id: _Optional[_Iterable[int]] = ..., time_ms: _Optional[_Iterable[int]] = ..., req_id: _Optional[_Iterable[int]] = ..., n: _Optional[_Iterable[int]] = ..., network: _Optional[_Iterable[int]] = ..., history: _Optional[_Iterable[_Union[History, _Mapping]]] = ...) -> None: ...

class Column(_message.Message):
    __slots__ = ("name", "values")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    name: str
    values: bytes
    def __init__(self, name: _Optional[str] = ..., values: _Optional[bytes] = ...) -> None: ...

class Offered(_message.Message):
    __slots__ = ("version", "count", "item_id", "score", "column")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    version: int
    count: _containers.RepeatedScalarFieldContainer[int]
    item_id: bytes
    score: bytes
    column: _containers.RepeatedCompositeFieldContainer[Column]
    def __init__(self, version: _Optional[int] = ..., count: _Optional[_Iterable[int]] = ..., item_id: _Optional[bytes] = ..., score: _Optional[bytes] = ..., column: _Optional[_Iterable[_Union[Column, _Mapping]]] = ...) -> None: ...

class Clicked(_message.Message):
    __slots__ = ("version", "user_id", "req_id", "time_ms", "item_id")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    REQ_ID_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    version: int
    user_id: _containers.RepeatedScalarFieldContainer[int]
    req_id: _containers.RepeatedScalarFieldContainer[int]
    time_ms: _containers.RepeatedScalarFieldContainer[int]
    item_id: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, version: _Optional[int] = ..., user_id: _Optional[_Iterable[int]] = ..., req_id: _Optional[_Iterable[int]] = ..., time_ms: _Optional[_Iterable[int]] = ..., item_id: _Optional[_Iterable[int]] = ...) -> None: ...

class Heard(_message.Message):
    __slots__ = ("version", "n_new")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    N_NEW_FIELD_NUMBER: _ClassVar[int]
    version: int
    n_new: int
    def __init__(self, version: _Optional[int] = ..., n_new: _Optional[int] = ...) -> None: ...
