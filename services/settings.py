"""Every setting of the service, once: what `build_app` takes, and the `args` of a Serve config file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from captioning.base_models import Quantization

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]
Booking = Annotated[float, Field(ge=0)]  # what Ray sets aside for one replica


class Settings(BaseModel):
    """What is served, where, within which limits and at which scale."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    # What is served
    base_model: str = "embedded"  # a name of the base-model table, a Hugging Face id or a local folder
    adapters_dir: Path = Path("adapters")  # seen from every node; read at each request, so never a restart
    runtime_adapters: bool = False  # whether anyone may load and unload adapters over HTTP, without a key
    adapter_sources: tuple[str, ...] = ()  # addresses to load them from: hf://owner/, s3://bucket/folder/
    reports_dir: Path = Path("runs")  # of evaluations; the page shows the latest
    default_model: str | None = None  # adapter that answers a request which names none; None: the base model
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    quantization: Quantization | None = None
    device: str = "auto"
    keep_words: bool = False  # whether the model reads a file's own title and desc, and may repeat them
    torch_threads: Count = 1  # per engine replica; more than one hurts on a busy machine

    # Where the model runs elsewhere: in a server with OpenAI's completions API, such as vLLM, SGLang or LoRAX
    engine_url: str | None = None  # None: an engine replica loads the model itself
    engine_model: str | None = None  # the server's name for the base model; None: the only one it has
    engine_api_key: SecretStr | None = None
    engine_loads_adapters: bool = False  # whether it may be told to load the adapters that are asked for
    engine_adapters_dir: str | None = None  # where it sees them; None: under the same path
    engine_prompt_as: Literal["tokens", "text"] = "tokens"  # text for LoRAX, which takes no token ids

    # Where
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    page: bool = True  # the web page at /; off leaves the API alone

    # Who may ask
    keys_file: Path | None = None  # API keys: python -m services key; None: none is asked for
    page_requests_per_minute: Count | None = None  # of all visitors together, if there are keys
    allowed_origins: tuple[str, ...] = ()  # sites whose pages may call the API, such as https://example.org

    # Limits of one request
    max_upload_bytes: Count = 8 * 1024 * 1024  # of the whole body; one SVG has the limits of rendering.Limits
    max_files: Count = 16  # in one multipart body
    max_tokens: Count = 64  # of a caption, when the request does not say
    max_tokens_limit: Count = 256  # the most that a request may ask for
    max_captions: Count = 8  # the largest n
    deadline_s: Seconds = 60.0  # from the first byte read to the answer
    adapter_load_s: Seconds = 600.0  # the same, for a request that loads an adapter
    render_timeout_s: Seconds = 5.0
    check_timeout_s: Seconds = 5.0  # to judge captions against their drawings; later they go without claims
    revise_timeout_s: Seconds = 10.0  # to write anew what is false in captions; later the best so far stays
    svg_url_hosts: tuple[str, ...] = ()  # drawings are fetched from: example.org, *.example.org; none: never
    svg_url_timeout_s: Seconds = 5.0

    # Load
    max_pending: Count = 64  # requests inside, per ingress replica; beyond it 503 at once
    max_batch_size: Count = 16  # captions that are written at once, per engine replica
    adapter_bytes: Count | None = None  # for adapters in memory; None: no limit, all that were asked for stay
    render_workers: Count = 1  # processes that rasterize, per ingress replica

    # Scale
    ingress_replicas: Count = 1
    ingress_cpus: Booking = 0.5
    engine_replicas: Count = 1
    engine_cpus: Booking = 1.0
    engine_gpus: Booking = 0.0
    engine_surge: bool | None = None  # an update starts new engines beside the old; None: if they need no GPU

    @field_validator("adapters_dir", "keys_file", "reports_dir")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return path and path.expanduser().absolute()  # replicas run in a working directory of their own

    @field_validator("ingress_replicas")
    @classmethod
    def _page_lives_in_one_process(cls, replicas: int, info: object) -> int:
        # Gradio keeps its sessions in the process: a second replica would get half of a visitor's calls.
        if replicas > 1 and getattr(info, "data", {}).get("page", True):
            raise ValueError("the page needs exactly one ingress replica; set page: false to have more")
        return replicas

    @property
    def revises(self) -> bool:
        """Whether captions can be written anew from the middle on, which a server does not do."""
        return self.engine_url is None

    @property
    def api_url(self) -> str:
        """Where the page, on the same node, reaches the API."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - not bound here
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def cpus(self) -> float:
        """What the whole service books from Ray."""
        return self.ingress_replicas * self.ingress_cpus + self.engine_replicas * self.engine_cpus
