"""The settings of GraphQL: limits, costs, documents and executors."""

from enum import StrEnum
from pathlib import Path

from pydantic import Field, field_validator

from gateway.settings.group import Group


class CostMode(StrEnum):
    """What is done about the REST calls that an operation is predicted to make."""

    OFF = "off"
    MEASURE = "measure"
    ENFORCE = "enforce"


class TrustMode(StrEnum):
    """What is done about documents that are not trusted."""

    LOG = "log"
    PREFER = "prefer"
    REQUIRE = "require"


class LimitSettings(Group):
    """The largest requests, documents and costs that are accepted."""

    body: int = Field(
        alias="GATEWAY_MAX_BODY",
        default=1024 * 1024,
        ge=1024,
        description="Largest request body, in bytes.",
    )
    upload: int = Field(
        alias="GATEWAY_MAX_UPLOAD_BYTES",
        default=25 * 1024 * 1024,
        ge=1024,
        le=100 * 1024 * 1024,
        description="Size of all files of an upload together, in bytes. Its other parts have limits of their own.",
    )
    batch: int = Field(
        alias="GATEWAY_MAX_BATCH",
        default=1,
        ge=1,
        le=100,
        description="Most operations in one POST, as a JSON array; 1: no arrays.",
    )
    page_size: int = Field(
        alias="GATEWAY_MAX_PAGE_SIZE",
        default=100,
        ge=1,
        le=10_000,
        description="Largest `first` and `last` of a connection.",
    )
    document: int = Field(
        alias="GATEWAY_MAX_DOCUMENT",
        default=32_768,
        ge=1024,
        description="Largest GraphQL document, in characters.",
    )
    tokens: int = Field(
        alias="GATEWAY_MAX_TOKENS",
        default=1500,
        ge=100,
        description="Largest GraphQL document, in lexical tokens.",
    )
    depth: int = Field(
        alias="GATEWAY_MAX_DEPTH",
        default=20,
        ge=1,
        le=200,
        description="Levels of fields in an operation.",
    )
    fields: int = Field(
        alias="GATEWAY_MAX_FIELDS",
        default=500,
        ge=1,
        description="Fields and spreads of fragments in a document, with its fragments written out.",
    )
    aliases: int = Field(
        alias="GATEWAY_MAX_ALIASES",
        default=50,
        ge=0,
        description="Aliases in a document, with its fragments written out; introspection has none.",
    )
    root_fields: int = Field(
        alias="GATEWAY_MAX_ROOT_FIELDS",
        default=20,
        ge=1,
        description="Fields of `Query` that an operation may select.",
    )
    directives: int = Field(
        alias="GATEWAY_MAX_DIRECTIVES",
        default=100,
        ge=0,
        description="Directives in a document, with its fragments written out.",
    )
    operations: int = Field(
        alias="GATEWAY_MAX_OPERATIONS",
        default=20,
        ge=1,
        description="Operations in a document.",
    )
    comparisons: int = Field(
        alias="GATEWAY_MAX_COMPARISONS",
        default=10_000,
        ge=100,
        description="Work to find out whether a document's overlapping fields can be merged, in graphql-core's units.",
    )
    list_items: int = Field(
        alias="GATEWAY_MAX_LIST",
        default=200,
        ge=1,
        description="Items of a list in an argument or a variable, such as `ids` of `threads`.",
    )
    response_fields: int = Field(
        alias="GATEWAY_MAX_RESPONSE_FIELDS",
        default=100_000,
        ge=100,
        description="Fields in the response of an operation: each key of each object, so those of all items of lists.",
    )
    response: int = Field(
        alias="GATEWAY_MAX_RESPONSE",
        default=8 * 1024 * 1024,
        ge=1024,
        description="Largest `data` in the response of an operation, in bytes before compression.",
    )
    upstream_bytes: int = Field(
        alias="GATEWAY_MAX_UPSTREAM_BYTES",
        default=10 * 1024 * 1024,
        ge=1024,
        description="Size of all REST responses that an operation needs, in bytes after decompression.",
    )
    cost_mode: CostMode = Field(
        alias="GATEWAY_COST_MODE",
        default=CostMode.ENFORCE,
        description="Whether REST calls are predicted: `off`, `measure` (the header `Gateway-Cost` shows them), or "
        "`enforce` (and operations above `GATEWAY_MAX_COST` are refused).",
    )
    cost: int = Field(
        alias="GATEWAY_MAX_COST",
        default=1000,
        ge=1,
        description="Predicted REST calls that an operation may have, with `enforce`.",
    )
    cost_list_size: int = Field(
        alias="GATEWAY_COST_LIST_SIZE",
        default=5,
        ge=1,
        le=10_000,
        description="Assumed items of a list in a response, if each of them would cost a REST call.",
    )


class GraphQLSettings(Group):
    """How operations are executed, and which documents are known beforehand."""

    document_cache_size: int = Field(
        alias="GATEWAY_DOCUMENT_CACHE_SIZE",
        default=1000,
        ge=0,
        description="How many parsed and validated documents are kept, per worker. A long one counts as several.",
    )
    plans: bool = Field(
        alias="GATEWAY_PLANS",
        default=True,
        description="Answer ordinary queries by compiled plans; the responses are the same without them.",
    )
    incremental: bool = Field(
        alias="GATEWAY_INCREMENTAL",
        default=False,
        description="Offer `@defer` and `@stream`: responses in parts, the slow ones later.",
    )
    mutations: bool = Field(
        alias="GATEWAY_MUTATIONS",
        default=False,
        description="Let mutations run. In service mode a caller needs the scope `chat:write` for them.",
    )
    upload_directory: Path | None = Field(
        alias="GATEWAY_UPLOAD_DIRECTORY",
        default=None,
        description="Where uploaded files are kept, without names, until they are sent on; unset: the system's folder "
        "for temporary files. If that is in memory, so are the files.",
    )
    upload_directory_max_bytes: int = Field(
        alias="GATEWAY_UPLOAD_DIRECTORY_MAX_BYTES",
        default=256 * 1024 * 1024,
        ge=32 * 1024 * 1024,
        description="Most bytes of uploaded files that a worker keeps at one moment; each file counts 64 KB more.",
    )
    introspection: bool = Field(
        alias="GATEWAY_INTROSPECTION",
        default=True,
        description="Answer `__schema` and `__type`; `_service` works either way.",
    )
    persisted_queries: bool = Field(
        alias="GATEWAY_PERSISTED_QUERIES",
        default=True,
        description="Let clients name a document by its hash, and keep documents that are sent with their hash.",
    )
    persisted_queries_max_bytes: int = Field(
        alias="GATEWAY_PERSISTED_QUERIES_MAX_BYTES",
        default=8 * 1024 * 1024,
        ge=64 * 1024,
        description="Memory for such documents, per worker, in bytes.",
    )
    persisted_queries_ttl: float = Field(
        alias="GATEWAY_PERSISTED_QUERIES_TTL",
        default=86_400,
        gt=0,
        description="Seconds such a document is kept, in memory and in the cache's Redis if any.",
    )
    trusted_documents: Path | None = Field(
        alias="GATEWAY_TRUSTED_DOCUMENTS",
        default=None,
        description="The documents that clients were built with: a manifest of Apollo or Relay, or a folder of "
        "`.graphql` files.",
    )
    trusted_documents_mode: TrustMode = Field(
        alias="GATEWAY_TRUSTED_DOCUMENTS_MODE",
        default=TrustMode.LOG,
        description="What happens with other documents: `log` them, `prefer` the trusted ones, which have no limits, "
        "or `require` a trusted one.",
    )

    enums: Path | None = Field(
        alias="GATEWAY_ENUMS",
        default=None,
        description="A JSON file with names for the values of enumerations that the REST API does not publish: "
        '`{"ThreadStatus": {"2": "Waiting"}}`.',
    )

    @field_validator("trusted_documents", "enums")
    @classmethod
    def _there(cls, path: Path | None) -> Path | None:
        if path is not None and not path.exists():
            raise ValueError("must be a file or a folder that is there")
        return path

    @field_validator("upload_directory")
    @classmethod
    def _folder(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_dir():
            raise ValueError("must be a folder that is there")
        return path
