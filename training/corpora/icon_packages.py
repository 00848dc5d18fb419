"""The icon packages that corpora are made of: pinned npm packages, their licences, and how they name styles.

Which families are for training and which one is kept for testing is said here, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

IconStyle = Literal["outline", "thin outline", "bold outline", "filled", "two-tone", "flat", ""]

_NONE: Mapping[str, IconStyle] = MappingProxyType({})


@dataclass(frozen=True)
class Package:
    """A pinned npm package of icons.

    One with a `folder` has a file for each icon there; one without has them all in Iconify's `icons.json`.
    """

    name: str
    version: str
    sha512: str  # base64, as in a lock file
    license: str  # SPDX
    copyright: str
    folder: str = ""
    style: IconStyle = ""  # of all icons whose name and folder do not tell
    endings: Mapping[str, IconStyle] = field(default_factory=lambda: _NONE)  # of names: `-line` is an outline
    skipped: str = ""  # names in which this regular expression is found are left out
    dropped: str = ""  # what a regular expression takes out of a name: sizes, numbers of variants
    is_coloured: bool = False  # drawn in several colours, which captions then name


PACKAGES: dict[str, Package] = {
    "bootstrap": Package(
        "bootstrap-icons",
        "1.13.2",
        "fAU1Ly3dH7hwRg+CB8EZ0Vl0fF80zgXHeUVJyfUOKzoURr+TbwISbCW5tKUoQLERaWYG2emTCybcPbD96hdD1A==",
        "MIT",
        "Copyright (c) 2019-2024 The Bootstrap Authors",
        "icons",
    ),
    "lucide": Package(
        "lucide-static",
        "1.62.0",
        "WBZA/m2PvkFpMGHDtsBck5P2A9G4ehLlYu4GwwICcmEm1BvYVgj00lCDxKRWLlbMlOibLaiwdQ88G5pHkSWgwA==",
        "ISC",
        "Copyright (c) 2026 Lucide Icons and Contributors",
        "icons",
        "outline",
    ),
    "mdi": Package(
        "@mdi/svg",
        "7.4.47",
        "WQ2gDll12T9WD34fdRFgQVgO8bag3gavrAgJ0frN4phlwdJARpE6gO1YvLEMJR0KKgoc+/Ea/A0Pp11I00xBvw==",
        "Apache-2.0",
        "Copyright Pictogrammers",
        "svg",
    ),
    "phosphor": Package(
        "@phosphor-icons/core",
        "2.1.1",
        "v4ARvrip4qBCImOE5rmPUylOEK4iiED9ZyKjcvzuezqMaiRASCHKcRIuvvxL/twvLpkfnEODCOJp5dM4eZilxQ==",
        "MIT",
        "Copyright (c) 2023 Phosphor Icons",
        "assets",
    ),
    "tabler": Package(
        "@tabler/icons",
        "3.51.0",
        "0pinvPZz7YeX+OSfxuEAbnEPWbocVXW5iU8h5lh41pYG8sZuQfpWECC980lxOT0clGIcNGn8xsBr+zKaRGdA/g==",
        "MIT",
        "Copyright (c) 2020-2026 Paweł Kuna",
        "icons",
    ),
    "fluent": Package(
        "@iconify-json/fluent",
        "1.2.60",
        "+Tc4TcygQpzm2QNQ3v1/p5V+3OWczkJzKMqUw01pzGiIYLD85uhWPY4GaERkU0+J9J9ZqGQEWKSOk/qPL2ofsw==",
        "MIT",
        "Copyright (c) 2020 Microsoft Corporation",
        endings={"-24-filled": "filled", "-24-regular": "outline"},
        skipped=r"(?<!-24-filled)(?<!-24-regular)$|-(ltr|rtl)-",
    ),
    "fluent-emoji": Package(
        "@iconify-json/fluent-emoji-flat",
        "1.2.6",
        "RY47RgPb47fYUiyrA64sIOL0+UU02s29sXpNBbIQRBUlPlfNFTKUmZDERGuxDs/7yNGWqQYvuaSYM1M4fRXlUw==",
        "MIT",
        "Copyright (c) Microsoft Corporation",
        style="flat",
        skipped=r"-(light|medium|dark|medium-light|medium-dark|oclock|thirty)$",
        is_coloured=True,
    ),
    "flat-color": Package(
        "@iconify-json/flat-color-icons",
        "1.2.3",
        "KcmJ7CY0TKFv5GuBjiS4/v++jEcNXna1jfY+yq014tnw/MN/jMI2oYpoMHGuIpYtUqDu7eove+WySnOYO8nS3w==",
        "MIT",
        "Copyright (c) Icons8",
        style="flat",
        is_coloured=True,
    ),
    "healthicons": Package(
        "@iconify-json/healthicons",
        "1.2.13",
        "1c6nzjXoYBHwFqckX4Jb0PIReOzm3FZ4hWHNz/YYw1yL7QRBTeolh+S4kWpjWVa8hn9oJjgdFv0fyd8ERcRiEA==",
        "MIT",
        "Copyright (c) Resolve to Save Lives",
        style="filled",
        endings={"-outline": "outline"},
        skipped=r"-(negative|24px)$",
    ),
    "heroicons": Package(
        "@iconify-json/heroicons",
        "1.2.3",
        "n+vmCEgTesRsOpp5AB5ILB6srsgsYK+bieoQBNlafvoEhjVXLq8nIGN4B0v/s4DUfa0dOrjwE/cKJgIKdJXOEg==",
        "MIT",
        "Copyright (c) Tailwind Labs, Inc.",
        style="outline",
        endings={"-solid": "filled"},
        skipped=r"-(16|20)-solid$",
    ),
    "hugeicons": Package(
        "@iconify-json/hugeicons",
        "1.2.35",
        "c06tY90JZnKhOLBAKoQ1z2pqXMRdATuYXslTKwaaIAjLzKsTIsE+GGknY6+qo/SP0U/NG9xQjr4N+zfDqOeQiQ==",
        "MIT",
        "Copyright (c) Hugeicons",
        style="outline",
        dropped=r"-0\d\b|(?<=[a-z])\d$",
    ),
    "icon-park": Package(
        "@iconify-json/icon-park",
        "1.2.4",
        "S8fVl49LG/M9hvwb7ruFGInK21AHMv3IJehOJRJgXPLE39OOCP3wbfTWjro/XzsjxRwdvX/lYdGetFOZI0TaJQ==",
        "Apache-2.0",
        "Copyright ByteDance",
        is_coloured=True,
        dropped=r"-(one|two|three|four|five)$",
    ),
    "iconoir": Package(
        "@iconify-json/iconoir",
        "1.2.11",
        "clBrCsZPkmdksYOkufVp7aoAU1j1hFQPrLUooWWmoYIMvKskUHQ+IDnwV7agTR+tGYHbud7OP2SRfYEpnqFDNw==",
        "MIT",
        "Copyright (c) 2021 Luca Burgio",
        style="outline",
        endings={"-solid": "filled"},
    ),
    "ion": Package(
        "@iconify-json/ion",
        "1.2.7",
        "ZJNG5kLCbTPr68mdP0jx6Q3lB9AMEQKO2+VvIjuJ2llGFICBLD+cvESn/qGDRIqSfk2D3PrFMf/Qg8WKIUV7cg==",
        "MIT",
        "Copyright (c) 2015-present Ionic",
        style="filled",
        endings={"-outline": "outline"},
        skipped=r"^(ios|md|logo|social)-|-sharp$",
    ),
    "mage": Package(
        "@iconify-json/mage",
        "1.2.4",
        "QZnjHtV/RP9/bF6n7bHSnXMPX/MW5dpHqOH2pEHiEytUx76OKrUZ55YBFwrAxPz5f3BoCeWMY1wyEQQD36Bkkw==",
        "Apache-2.0",
        "Copyright MageIcons",
        style="outline",
        endings={"-fill": "filled"},
        dropped=r"-b(?=-|$)",
    ),
    "majesticons": Package(
        "@iconify-json/majesticons",
        "1.2.5",
        "tj0ZTiYOkz8HC365x7Pj8vXCsHCjVuFXcwoFG0iuMlvLrHslVlFhSTLjt/x/5r0ciCrtA5tLGpbV1uG0fdC56g==",
        "MIT",
        "Copyright (c) Gerrit Halfmann",
        style="filled",
        endings={"-line": "outline"},
    ),
    "material-symbols": Package(
        "@iconify-json/material-symbols",
        "1.2.98",
        "ycgn080/EGstyYcJFu+HN0TYI+ts/KFPb+An0dzpwZit4M/BoFO9U54BwBmrS2Qo/3g9NYV4Y/g1BT425tNgEw==",
        "Apache-2.0",
        "Copyright Google",
        style="filled",
        endings={"-outline-rounded": "outline", "-outline": "outline", "-rounded": "filled"},
        skipped=r"-sharp$",
    ),
    "mingcute": Package(
        "@iconify-json/mingcute",
        "1.2.8",
        "J8VXpRwTpx5yzOzyhx3T4IXnfXIKTWFl3rZ9okcW4c+NMMuwkLvdmM4rkjB83tnYIhg5+kkeMpmw8tvSnxd4rQ==",
        "Apache-2.0",
        "Copyright MingCute Design",
        endings={"-fill": "filled", "-line": "outline"},
    ),
    "octicon": Package(
        "@iconify-json/octicon",
        "1.2.36",
        "YHlJokjC+uBj1kSd7+YTRMNIN85TvAGr4ZJVOHCTzj0nyH64ImXRIZmh4P6Nbv0RGDd7hS7+UwEDGchFgGxxVw==",
        "MIT",
        "Copyright (c) GitHub Inc.",
        endings={"-fill-24": "filled", "-24": "outline"},
        skipped=r"(?<!-24)$",
    ),
    "tdesign": Package(
        "@iconify-json/tdesign",
        "1.2.19",
        "YAEUidy7vJBAlGDMro1JWw5CZNO0EbeSb8SxNCsBuBq7hFtftlL2VhZac3EgHeTMMDf3OBfP/YwII7SIdb1d+w==",
        "MIT",
        "Copyright (c) Tencent",
        style="outline",
        endings={"-filled": "filled"},
        dropped=r"-stroke$|-\d$",
    ),
    "unicons": Package(
        "@iconify-json/uil",
        "1.2.3",
        "if91+UBhDQc6glPsIaXecGIcXnbQZfEO4Gdv89TV2xQ+V5e9GWbY5rNl2fsKZd8COsRQ5lRQAKimVQVL0CZZVg==",
        "Apache-2.0",
        "Copyright Iconscout",
        style="outline",
        dropped=r"-alt$",
    ),
}
HELD_OUT_FAMILY = "tabler"
TRAINING_FAMILIES: tuple[str, ...] = tuple(family for family in PACKAGES if family != HELD_OUT_FAMILY)
