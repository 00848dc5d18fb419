"""The vocabulary of icon names: what the words in `bell-off-outline` mean in plain English.

Icon families call one thing by many names; here they are brought to one noun for what is drawn.
"""

from __future__ import annotations

from training.corpora.wording import NUMBERS


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


STYLE = _set("fill filled outline outlined solid")
UNSPOKEN = _set("alt rtl ltr")  # tell one drawing of a thing from another, not what it shows
DROPPED = _set("variant alt simple classic default duotone sharp round")
NUMBERED = _set("battery clock dice letter number numeric reception rotate signal wifi multiplier")

ENCLOSURES = {
    "circle": "circle",
    "square": "square",
    "box": "square",
    "rect": "rectangle",
    "rectangle": "rectangle",
    "octagon": "octagon",
    "hexagon": "hexagon",
    "diamond": "diamond",
    "rhombus": "diamond",
    "triangle": "triangle",
}
LEADING_ENCLOSURES = _set("circle square octagon hexagon pentagon heptagon badge")

# What stands beside the main thing: the words after "with".
BADGES = {
    **dict.fromkeys(("off", "slash", "disabled"), "a slash"),
    **dict.fromkeys(("plus", "add", "new"), "a plus sign"),
    **dict.fromkeys(("minus", "dash", "subtract"), "a minus sign"),
    **dict.fromkeys(("check", "ok", "checked", "checkmark"), "a check mark"),
    **dict.fromkeys(("x", "remove", "close", "times", "xmark", "dismiss"), "an x"),
    "cancel": "a cancel sign",
    "prohibited": "a no entry sign",
    "sparkle": "a sparkle",
    **dict.fromkeys(("alert", "exclamation", "warning"), "an exclamation mark"),
    **dict.fromkeys(("question", "help"), "a question mark"),
    **dict.fromkeys(("info", "information"), "an information sign"),
    **dict.fromkeys(("lock", "locked"), "a padlock"),
    **dict.fromkeys(("unlock", "lock-open"), "an open padlock"),
    **dict.fromkeys(("heart", "favorite"), "a heart"),
    "star": "a star",
    **dict.fromkeys(("search", "magnify", "zoom"), "a magnifying glass"),
    **dict.fromkeys(("cog", "gear", "settings"), "a gear"),
    **dict.fromkeys(("edit", "pencil", "pen"), "a pencil"),
    **dict.fromkeys(("clock", "time"), "a clock"),
    "text": "lines of text",
    **dict.fromkeys(("dollar", "usd"), "a dollar sign"),
    **dict.fromkeys(("euro", "eur"), "a euro sign"),
    "bitcoin": "a bitcoin sign",
    **dict.fromkeys(("percent", "discount"), "a percent sign"),
    **dict.fromkeys(("account", "user", "person"), "a person"),
    "pause": "a pause sign",
    "play": "a play sign",
    "stop": "a square",
    "code": "code brackets",
    "key": "a key",
    "music": "a music note",
    "eye": "an eye",
    **dict.fromkeys(("bolt", "flash", "lightning", "zap"), "a lightning bolt"),
    **dict.fromkeys(("pin", "marker"), "a map pin"),
    **dict.fromkeys(("sync", "refresh"), "circular arrows"),
    "share": "a share sign",
    "dots": "three dots",
    "dot": "a dot",
    "bookmark": "a bookmark",
    **dict.fromkeys(("image", "photo"), "a picture"),
    "shield": "a shield",
    **dict.fromkeys(("upload", "arrow-up"), "an arrow pointing up"),
    **dict.fromkeys(("download", "arrow-down"), "an arrow pointing down"),
    **dict.fromkeys(("arrow-left", "back"), "an arrow pointing left"),
    **dict.fromkeys(("arrow-right", "forward"), "an arrow pointing right"),
    **dict.fromkeys(("moon", "night"), "a moon"),
    "sun": "a sun",
    "rain": "rain",
    "snow": "snow",
    "wrench": "a wrench",
    "home": "a house",
    "flame": "a flame",
    "link": "a chain link",
    "list": "a list",
    "bell": "a bell",
    "cloud": "a cloud",
    "tree": "a tree",
}
OPPOSITE = {"a slash": "crossed-out"}  # badges that also make an adjective

ADJECTIVES = {
    **{
        w: w
        for w in [
            "bold",
            "thick",
            "thin",
            "double",
            "dashed",
            "dotted",
            "broken",
            "open",
            "closed",
            "empty",
            "full",
            "electric",
            "wireless",
        ]
    },
    **{
        w: w
        for w in [
            "vertical",
            "horizontal",
            "rounded",
            "small",
            "medium",
            "large",
            "wide",
            "narrow",
            "tall",
            "short",
            "half",
            "flat",
        ]
    },
    "lg": "large",
    "big": "large",
    "sm": "small",
    "fat": "thick",
}

ARROWS = _set("arrow arrows chevron chevrons caret")
FINGERS = _set("pointing point finger index")
DIRECTIONS = {
    **{w: w for w in ("up", "down", "left", "right")},
    "top": "up",
    "bottom": "down",
}
POSITIONAL = _set(
    "align border box column columns corner dock layout object page panel row sidebar step text turn type"
)

# Names that tell an action or a layout rather than a thing: "an undo icon", never "an icon of an undo".
ACTIONS = _set(
    """align arrange border collapse columns contrast copy crop cut distribute drag exit expand export
    exposure fast fit flip focus format forward fullscreen git group http import indent insert
    italic jump justify language layout log math maximize merge minimize more move next orientation
    outdent overscan paste previous print quality redo relation reorder repeat replace reply resize
    restore rewind rotate row save scan select send share shuffle skip sort source spacing split
    stretch subscript superscript swap switch sync text transfer transform translate trending turn
    type underline undo ungroup unindent union view whole wrap zoom accessibility activity
    approximately"""
)

MASS = _set(
    """text people men women water rain snow fog wind smoke steam hail money cash bread cheese grass
    sand ice fire bacon music lightning corn rice soap sushi electricity data cactus sport chess seaweed
    milk butter
    honey sugar salt meditation yoga lacrosse golf basketball tennis cricket hockey football soccer
    baseball rugby volleyball drizzle sleet thunder equal infinity pi alpha beta omega sigma delta
    gamma lambda"""
)
SINGULAR_S = _set(
    """glass cross compass bus gas lens cactus virus octopus plus minus address atlas status canvas
    mattress dress grass class process abacus press campus express radius chess moss access progress
    bias news tennis trellis walrus menorah asterisk eyeglass hourglass wheatgrass bass access
    harness wilderness"""
)

# One noun for what is drawn, the words that families use for it, and other good words for it.
_THINGS: tuple[tuple[str, str, str], ...] = (
    ("person", "account user human head-person", "user, figure"),
    (
        "people",
        "users account-group account-multiple person-group users-group users-three users-four",
        "group, team",
    ),
    ("house", "home building-home", "home"),
    ("envelope", "mail email", "letter"),
    ("gear", "cog settings gear-six", "cogwheel"),
    ("gears", "cogs", "cogwheels"),
    ("trash can", "trash delete trash-can bin", "bin, garbage can"),
    ("document", "file file-earmark paper", "file, sheet of paper"),
    ("documents", "files file-multiple", "files, papers"),
    ("picture", "image photo image-square card-image", "image, photo"),
    ("pictures", "images photos image-multiple", "images, photos"),
    (
        "speech bubble",
        "chat comment message chat-square chat-circle message-square message-circle chat-teardrop "
        "speech-balloon chat-left chat-right",
        "chat bubble, message",
    ),
    (
        "speech bubbles",
        "chats comments messages message-circles forum chat-multiple",
        "chat bubbles, conversation",
    ),
    (
        "map pin",
        "map-marker map-pin geo-alt geo location-pin marker pin-map location map-pin-line marker-map",
        "location marker, place marker",
    ),
    ("push pin", "pin pin-angle pushpin push-pin", "thumbtack"),
    ("magnifying glass", "magnify search magnifier zoom", "lens"),
    (
        "lightning bolt",
        "lightning flash zap bolt lightning-bolt thunderbolt flash-on lightning-charge",
        "flash, thunderbolt",
    ),
    ("light bulb", "lightbulb bulb idea", "bulb, lamp"),
    ("telephone", "phone telephone phone-classic phone-call call", "phone, handset"),
    (
        "mobile phone",
        "cellphone device-mobile smartphone mobile phone-mobile phone-vibrate",
        "smartphone, cell phone",
    ),
    ("shopping cart", "cart shopping-cart cart-simple", "cart, trolley"),
    ("shopping bag", "bag shopping handbag-simple shopping-bag", "bag"),
    ("credit card", "credit-card card-credit card-payment", "bank card"),
    ("floppy disk", "floppy save content-save save-disk device-floppy floppy-disk", "diskette"),
    ("pencil", "edit lead-pencil", "pen"),
    ("check mark", "check tick check-lg checkmark check-bold check-fat", "tick"),
    ("padlock", "lock lock-simple lock-keyhole", "lock"),
    ("open padlock", "lock-open unlock lock-simple-open lock-open-variant", "open lock"),
    ("eye", "visibility view-eye preview", ""),
    ("bell", "notification notifications notification-bell", "alarm bell"),
    ("globe", "world web earth globe-hemisphere-west globe-simple", "planet, world"),
    ("flame", "fire", "fire"),
    ("star", "star-rating", ""),
    ("microphone", "mic microphone-stage", "mic"),
    ("speaker", "volume volume-high speaker-high volume-max volume-up audio", "loudspeaker"),
    ("muted speaker", "volume-mute volume-off speaker-x volume-x speaker-slash", "silenced speaker"),
    ("airplane", "plane airplane-tilt", "plane, aircraft"),
    ("bicycle", "bike", "bike"),
    ("car", "automobile car-side car-profile car-simple", "automobile"),
    ("clock", "time clock-outline", "watch face"),
    ("alarm clock", "alarm alarm-clock clock-alarm", ""),
    ("funnel", "filter funnel-simple", "filter"),
    ("paper plane", "send paper-plane-tilt plane-tilt", ""),
    ("cup", "coffee cup-hot mug mug-hot coffee-outline", "mug"),
    (
        "fork and knife",
        "silverware-fork-knife tools-kitchen utensils fork-knife restaurant food-fork-knife tools-kitchen-2",
        "cutlery",
    ),
    ("graduation cap", "mortarboard graduation-cap education", "mortarboard"),
    ("trophy", "award-cup", "cup"),
    ("medal", "award", "award"),
    ("droplet", "water-drop drop drop-half water-outline", "water drop"),
    ("snowflake", "snow asterisk-snow", ""),
    ("thermometer", "temperature", ""),
    ("compass", "safari-compass compass-rose explore", ""),
    (
        "smiling face",
        "emoji-smile emoticon-happy mood-smile smile smiley emoticon mood-happy emoji-happy face-"
        "smile mood-smile-beam",
        "happy face, smiley",
    ),
    ("sad face", "emoji-frown emoticon-sad mood-sad frown smiley-sad emoticon-frown", "unhappy face"),
    (
        "laughing face",
        "emoji-laughing emoticon-excited laugh emoji-grin emoticon-lol mood-tongue-wink",
        "grinning face",
    ),
    ("winking face", "emoji-wink emoticon-wink mood-wink smiley-wink", "wink"),
    (
        "neutral face",
        "emoji-neutral emoticon-neutral mood-neutral meh smiley-meh emoji-expressionless mood-empty",
        "blank face",
    ),
    ("angry face", "emoji-angry emoticon-angry mood-angry angry smiley-angry", ""),
    ("dizzy face", "emoji-dizzy emoticon-dead smiley-x-eyes mood-sick", ""),
    ("surprised face", "emoji-surprise emoji-astonished mood-surprised", ""),
    ("crying face", "emoji-tear emoticon-cry mood-cry", ""),
    ("kissing face", "emoji-kiss emoticon-kiss mood-kiss", ""),
    ("face with sunglasses", "emoji-sunglasses emoticon-cool mood-sunglasses mood-cool", "cool face"),
    ("sun", "weather-sunny brightness-high sun-high white-balance-sunny", "sunshine"),
    ("moon", "weather-night moon-waning-crescent moon-outline", "crescent moon"),
    (
        "cloud with rain",
        "cloud-rain weather-rainy cloud-drizzle weather-pouring cloud-rain-heavy cloud-showers-heavy",
        "rain cloud",
    ),
    ("cloud with snow", "cloud-snow weather-snowy cloud-sleet", "snow cloud"),
    ("cloud with lightning", "cloud-lightning weather-lightning cloud-storm cloud-bolt", "storm cloud"),
    ("sun behind a cloud", "cloud-sun weather-partly-cloudy sun-cloud", ""),
    ("moon behind a cloud", "cloud-moon weather-night-partly-cloudy", ""),
    ("thumbs up", "thumb-up hand-thumbs-up like", "thumb pointing up"),
    ("thumbs down", "thumb-down hand-thumbs-down dislike", "thumb pointing down"),
    ("heart", "cards-heart favorite", ""),
    ("play button", "play play-btn player-play caret-right-play", "play triangle"),
    ("pause sign", "pause player-pause pause-btn", "two bars"),
    ("stop button", "stop player-stop stop-btn", "stop square"),
    ("stop sign", "", ""),
    ("eject button", "eject player-eject eject-btn eject-simple", ""),
    ("power button", "power", "power sign"),
    (
        "forward skip sign",
        "skip-next skip-forward player-skip-forward player-track-next skip-end",
        "next track",
    ),
    (
        "backward skip sign",
        "skip-previous skip-back skip-backward player-skip-back player-track-prev skip-start",
        "previous track",
    ),
    ("link", "link-variant link-simple chain paperclip-link link-45deg", "chain link"),
    ("paperclip", "attachment clip attach attach-file", ""),
    ("key", "vpn-key key-round", ""),
    ("scissors", "content-cut cut scissors-cutting", ""),
    ("clipboard", "clipboard-outline", ""),
    (
        "calendar",
        "calendar-blank calendar-dots calendar-month calendar-range calendar-days event",
        "calendar page",
    ),
    ("television", "tv monitor-tv television-classic device-tv television-simple", "tv, screen"),
    ("computer monitor", "monitor display device-desktop desktop screen computer", "monitor, screen"),
    ("laptop", "device-laptop laptop-mac", "notebook computer"),
    ("camera", "camera-alt photo-camera", "photo camera"),
    ("video camera", "video camera-video video-recorder camera-movie videocam", "camcorder"),
    ("shield", "security", ""),
    ("flag", "flag-banner flag-pennant flag-triangle", ""),
    ("bookmark", "bookmark-simple", "ribbon"),
    ("gift", "present", "present, gift box"),
    ("fish", "fish-simple", ""),
    ("tree", "tree-deciduous tree-round", ""),
    ("evergreen tree", "pine-tree trees-pine tree-evergreen tree-pine christmas-tree", "pine tree, fir tree"),
    ("puzzle piece", "puzzle extension puzzle-piece", "jigsaw piece"),
    ("wrench", "spanner tool build", "spanner"),
    ("spanner and screwdriver", "tools hammer-screwdriver hammer-wrench", "tools"),
    ("database", "database-outline cylinder", "cylinder"),
    ("bar chart", "chart-bar bar-chart chart-bar-vertical chart-column", "column chart"),
    ("pie chart", "chart-pie pie-chart chart-pie-slice", ""),
    ("line chart", "chart-line graph graph-up line-chart trending-up-chart", "graph"),
    ("donut chart", "chart-donut chart-arc", "ring chart"),
    ("broken heart", "heart-broken heartbreak heart-crack heart-break", ""),
    ("hourglass", "timer-sand hourglass-simple", "sand timer"),
    ("stopwatch", "timer", "timer"),
    ("storefront", "store shop building-store shop-window", "shop"),
    ("headphones", "headset headphone", "headset"),
    ("printer", "print", ""),
    ("plug", "power-plug plugs electrical-plug", "power plug"),
    ("truck", "lorry", "lorry"),
    ("hamburger menu", "menu list-menu menu-deep", "three lines"),
    (
        "menu of three dots",
        "dots more-horizontal dots-horizontal three-dots dots-three ellipsis",
        "three dots in a row",
    ),
    (
        "menu of three vertical dots",
        "dots-vertical three-dots-vertical more-vertical dots-three-vertical ellipsis-vertical",
        "",
    ),
    ("x mark", "x close x-lg x-bold cross-mark dismiss", "cross"),
    ("plus sign", "plus plus-lg add plus-bold", "plus"),
    ("minus sign", "minus dash minus-bold subtract", "minus"),
    ("question mark", "question help question-mark help-small question-lg", "question"),
    ("exclamation mark", "exclamation alert exclamation-mark warning exclamation-lg", "warning"),
    ("information sign", "info information info-lg", "letter i"),
    (
        "no entry sign",
        "ban cancel prohibit block-helper block prohibited no-symbol no-entry",
        "prohibited sign",
    ),
    ("airplane taking off", "airplane-takeoff plane-departure plane-takeoff", ""),
    ("airplane landing", "airplane-landing plane-arrival plane-landing", ""),
    ("glasses", "eyeglasses eyeglass sunglasses-clear", "spectacles"),
    ("T-shirt", "tshirt-crew shirt t-shirt tshirt", "shirt"),
    ("bed", "bed-double bed-single", ""),
    ("lamp", "desk-lamp lamp-desk", ""),
    ("robot", "android-robot", ""),
    ("bug", "ladybug beetle", "insect"),
    ("dice", "dice-multiple", "die"),
    ("ghost", "pac-ghost", ""),
    ("crown", "chess-queen-crown", ""),
    ("diamond gem", "gem diamond-stone sketch-gem", "gemstone"),
    ("umbrella", "umbrella-simple", ""),
    ("wallet", "wallet-outline", "purse"),
    ("backpack", "bag-personal", "rucksack"),
    ("suitcase", "luggage bag-suitcase suitcase-simple suitcase-rolling bag-checked", "luggage"),
    ("briefcase", "business-bag", ""),
    ("trolley", "cart-flatbed hand-truck", ""),
    (
        "video game controller",
        "controller gamepad game-controller device-gamepad google-controller gamepad-variant gamepad-square",
        "gamepad",
    ),
    ("microscope", "microscope-lens", ""),
    ("atom", "react-atom", ""),
    ("test tube", "flask-tube test-tube-2", ""),
    ("flask", "beaker erlenmeyer-flask flask-conical", "beaker"),
    ("syringe", "needle vaccine", ""),
    ("pill", "pills capsule medication medicine", "capsule"),
    ("bandage", "bandaid bandage adhesive-bandage band-aid", "plaster"),
    ("ambulance", "ambulance-car", ""),
    ("wheelchair", "wheelchair-accessibility disabled accessible", ""),
    ("ice cream", "ice-cream-cone", ""),
    ("pizza", "pizza-slice", ""),
    ("cookie", "cookie-outline", "biscuit"),
    ("wine glass", "wine glass-wine glass-full wineglass", ""),
    ("cocktail glass", "glass-cocktail martini cocktail cup-straw-cocktail", ""),
    ("beer mug", "beer beer-stein beer-outline", ""),
    ("cake", "birthday-cake cake-candles", ""),
    ("paint brush", "brush paintbrush brush-outline", ""),
    ("paint roller", "format-paint paint-roller-outline", ""),
    ("palette", "color-palette", "paint palette"),
    ("eyedropper", "eyedropper-variant color-picker pipette", "pipette"),
    (
        "crosshair",
        "crosshairs-gps crosshairs crosshair-simple current-location gps target-crosshair gps-fix",
        "",
    ),
    ("target", "bullseye bullseye-arrow target-arrow", "bullseye"),
    ("basketball", "ball-basketball", ""),
    ("soccer ball", "soccer ball-football football-ball", "football"),
    ("tennis ball", "ball-tennis tennis-ball-outline", ""),
    ("volleyball", "ball-volleyball", ""),
    ("baseball", "ball-baseball", ""),
    ("american football", "football ball-american-football", ""),
    ("music note", "music music-note music-notes-simple music-note-beamed", "note"),
    ("music notes", "music-notes music-note-double", "notes"),
    ("sailboat", "sailing-boat sail-boat boat sailing", "sailing boat"),
    ("ship", "ferry", ""),
    ("rocket", "rocket-launch", "spaceship"),
    ("satellite dish", "satellite-uplink satellite-variant", ""),
    ("eraser", "eraser-variant", "rubber"),
    ("receipt", "receipt-text", "bill"),
    ("newspaper", "news newspaper-variant", "news"),
    ("open book", "book-open book-open-page-variant book-open-text book-open-page", ""),
    ("notebook", "journal notebook-outline", "journal"),
    ("folder", "folder-outline folder-simple folder2", ""),
    ("folders", "folder-multiple", ""),
    ("inbox", "tray inbox-outline", "tray"),
    ("archive box", "archive", "storage box"),
    ("package", "package-variant package-variant-closed box box-seam parcel", "box, parcel"),
    (
        "circular arrows",
        "refresh sync arrows-clockwise arrow-repeat reload refresh-cw arrow-path arrows-counter-clockwise",
        "refresh arrows",
    ),
    ("clockwise arrow", "arrow-clockwise rotate-clockwise redo-variant rotate-right rotate-cw", ""),
    (
        "counterclockwise arrow",
        "arrow-counterclockwise rotate-2 rotate-left rotate-ccw arrow-counter-clockwise",
        "",
    ),
    ("door", "door-closed", ""),
    ("traffic light", "traffic-light-outline traffic-cone-light stoplights traffic-signal", "stop light"),
    ("traffic cone", "cone cone-striped traffic-cone-outline", ""),
    ("shoe", "shoe-sneaker sneaker", "sneaker"),
    ("foot prints", "footprints shoe-print", ""),
    ("paw print", "paw paw-print dog-paw", "paw"),
    ("skull", "skull-crossbones-head skull-outline", ""),
    ("pie slice", "chart-slice", ""),
    ("fingerprint", "fingerprint-simple", ""),
    (
        "ID card",
        "id badge-account card-account-details identification-card id-badge person-vcard person-badge",
        "identity card",
    ),
    ("QR code", "qrcode qr-code qr-code-outline", "QR code"),
    ("bar code", "barcode", ""),
    ("server", "server-network hdd-stack server-rack", ""),
    ("hard drive", "harddisk hdd hard-drives hard-drive device-sd", "disk drive"),
    ("memory chip", "memory chip cpu microchip cpu-64-bit", "processor"),
    ("memory card", "sd sd-card micro-sd device-sd-card", ""),
    ("router", "router-wireless router-network", ""),
    ("keyboard", "keyboard-outline", ""),
    ("computer mouse", "mouse mouse-simple mouse-variant", "mouse"),
    ("mouse pointer", "cursor cursor-default mouse-pointer cursor-pointer pointer cursor-click", "cursor"),
    ("hand pointing", "hand-pointing hand-finger hand-index hand-pointer hand-index-thumb", "finger"),
    ("waving hand", "hand-wave hand-waving", ""),
    ("raised hand", "hand hand-stop hand-back-right hand-palm", "palm"),
    ("handshake", "hand-shake", ""),
    ("brain", "head-brain", ""),
    ("tooth", "dental", ""),
    ("lips", "mouth", ""),
    ("leaf", "plant-leaf", ""),
    ("plant", "potted-plant sprout seedling seeding plant-2", "sprout"),
    ("cactus", "cactus-plant", ""),
    ("flower", "flower-outline flower-tulip-flower", ""),
    ("mountains", "landscape-mountains image-filter-hdr mountain terrain", "mountain"),
    ("fire extinguisher", "fire-extinguisher-outline", ""),
    ("film strip", "film filmstrip movie film-strip", "movie"),
    ("clapperboard", "movie-open clapper film-slate", ""),
    ("megaphone", "bullhorn speakerphone megaphone-simple", "loudspeaker"),
    ("radio", "radio-receiver device-radio", ""),
    ("RSS feed sign", "rss rss-simple", ""),
    ("Wi-Fi signal", "wifi wifi-strength-4 wifi-high", "wireless signal"),
    ("bluetooth sign", "bluetooth", ""),
    ("battery", "battery-outline battery-empty", ""),
    ("USB stick", "usb-flash-drive device-usb usb-drive", ""),
    ("gauge", "speedometer gauge-simple dashboard dashboard-speed", "speedometer"),
    ("dashboard of tiles", "dashboard-tiles", "tiles"),
    ("scale", "scale-balance scales balance-scale scale-unbalanced", ""),
    ("gavel", "hammer-gavel", ""),
    ("hammer", "hammer-outline", ""),
    ("ruler", "ruler-measure ruler-2", ""),
    ("layers", "layer-group stack stack-simple", "stack"),
    ("grid of squares", "grid apps view-grid squares-four layout-grid grid-fill grid-four", "grid"),
    ("table", "table-outline table-large", ""),
    (
        "sliders",
        "tune sliders-horizontal adjustments-horizontal adjustments faders tune-vertical sliders-"
        "vertical adjustments-alt",
        "faders",
    ),
    ("toggle switch", "toggle-switch toggle toggle-left toggle-right toggle-on", "switch"),
    ("translation sign", "translate language", ""),
    ("at sign", "at at-sign", ""),
    ("hash sign", "hash pound hashtag number-symbol", "number sign"),
    ("dollar sign", "dollar currency-dollar currency-usd dollar-sign", ""),
    ("euro sign", "currency-euro currency-eur euro", ""),
    ("pound sign", "currency-pound currency-gbp pound-sterling", ""),
    ("yen sign", "currency-yen currency-jpy japanese-yen currency-jpy-circle", ""),
    ("coins", "cash-multiple-coins hand-coin-coins database-coin", ""),
    ("banknote", "cash banknote money cash-banknote", "paper money"),
    ("bank", "bank-building building-bank landmark", ""),
    ("building", "building-outline office-building city-building", ""),
    ("skyscrapers", "city buildings building-skyscraper", "city"),
    ("factory", "building-factory", ""),
    ("church", "building-church", ""),
    ("castle", "building-castle castle-turret", ""),
    ("lighthouse", "building-lighthouse lighthouse-on", ""),
    ("tent", "tent-outline campground", ""),
    ("telescope", "telescope-2", ""),
    ("anchor", "anchor-simple", ""),
    ("steering wheel", "steering", ""),
    ("gas pump", "gas-station fuel-pump fuel gas-pump", "fuel pump"),
    ("fan", "fan-outline propeller", ""),
    ("washing machine", "wash-machine", ""),
    ("refrigerator", "fridge", "fridge"),
    ("sofa", "couch", "couch"),
    ("armchair", "sofa-single", ""),
    ("bathtub", "bath tub", "bath"),
    ("shower", "shower-head", ""),
    ("toilet paper", "paper-roll", ""),
    ("baby carriage", "baby-buggy baby-carriage", "pram"),
    ("download arrow", "download download-simple tray-arrow-down", "arrow pointing down into a tray"),
    ("upload arrow", "upload upload-simple tray-arrow-up", "arrow pointing up out of a tray"),
    ("log in", "login log-in sign-in", "sign in"),
    ("log out", "logout log-out sign-out", "sign out"),
    ("hospital", "hospital-building building-hospital", ""),
    ("bus stop", "", ""),
    ("pencil and ruler", "pencil-ruler ruler-pencil", ""),
    ("school", "building-school", ""),
    ("not equal sign", "not-equal not-equals not-equal-variant", ""),
    ("yo-yo", "yo-yo", ""),
    ("arrow into a square", "", ""),
)


def _parse_things() -> tuple[dict[tuple[str, ...], str], dict[str, tuple[str, ...]]]:
    nouns: dict[tuple[str, ...], str] = {}
    others: dict[str, tuple[str, ...]] = {}
    for noun, variants, words in _THINGS:
        for variant in variants.split():
            nouns.setdefault(tuple(variant.split("-")), noun)
        nouns.setdefault(tuple(noun.lower().split()), noun)
        others[noun] = tuple(word.strip() for word in words.split(",") if word.strip())
    return nouns, others


NOUNS, OTHER_WORDS = _parse_things()
LONGEST_NOUN = max(len(words) for words in NOUNS)

_CAPITALS = _set(
    """ai 3d 2d pdf html css tv hd 4k 8k 5g 4g 3g api sql xml json csv gps qr sim gif jpg png svg mp3 mp4
    cd dvd atm ufo vpn lte nfc ram ssd ip ev dna rgb vr ar dns id hdmi vga dvi sms mms ac dc php js
    ts usb hdr iso mri cpu gpu rss sti hiv led ios ppt xls doc docx xlsx txt zip bmp raw psd exe sos"""
)
SPELLINGS = {
    **{word: word.upper() for word in _CAPITALS},
    "wifi": "Wi-Fi",
    "btn": "button",
    "tshirt": "T-shirt",
    "lg": "large",
    "cal": "calendar",
    "us": "US",
}
DIGITS = {word: str(i) for i, word in enumerate(NUMBERS)}

# Words of the buttons' work: "an icon for add reaction", never "an add reaction".
VERBS = _set(
    """add approve assign attach build connect delete disable disconnect dismiss do edit enable
    enter explore find go-forward go-backward go-to go-on go-end go-start go-ahead hide
    in no not remove rename reset return show subtract unlink"""
)

# Concepts that the shipped weights learned under another name, and that the hash would keep from training.
LEARNED = frozenset(
    [
        "1.2x sign",
        "HIV self test",
        "antenna",
        "arrow pointing down to a dot",
        "arrow pointing down with a bar",
        "arrow pointing down with a tray",
        "arrow pointing right to an arc",
        "arrow pointing right with a tag",
        "arrows pointing up from a line",
        "corner arrow pointing left",
        "ppe santizer",
        "sound wave",
        "tab desktop multiple",
    ]
)

# Trademarks: nobody can guess them from the drawing, and they are not ours to hand on.
COLOUR_WORDS = _set(
    "red orange yellow green teal blue purple pink brown black gray white beige gold golden silver"
)

BRANDS = _set(
    """alexa alipay amazon amd android anthropic behance bing bluesky bootstrap claude discord disqus
    dribbble dropbox envato facebook figma github gitlab google hypnotize instagram javascript
    linkedin mastodon microsoft nintendo nvidia openai opencollective paypal perplexity pinterest
    playstation quora reddit skype slack snapchat sony sourceforge spotify strava stripe substack
    telegram tiktok trello tux twitch twitter typescript ubuntu vimeo wechat whatsapp wikipedia
    wordpress xbox yelp youtube chromium codepen codesandbox
    adobe airbnb asana bebo bilibili bitbucket blogger bytedance capcut coinbase css3 debian
    deepseek deviantart digg dingtalk docker dongchedi ebay fiverr flaticon flickr flutter foursquare
    gitbook gmail groww gumroad hackerrank hipchat html3 html5 iconoir hugeicons jinritoutiao
    kickstarter klarna
    leetcode mastercard mazda mingcute misskey mistral mitsubishi netease netflix netlify okta
    pagerduty pantone payoneer photoshop illustrator picasa plaxo plurk qwen renault
    scribd shopify shutterstock slideshare soundcloud stackoverflow swiggy taobao teamviewer tinder
    topbuzz tumblr twtich uber ulikecam unsplash upwork viber viencharts vk vkontakte volkswagen vscode
    vuejs wattpad webflow weibo xing yahoo youtobe yuanbao npm pexels pokemon
    replit tailwindcss"""
)
# Words that mean a company in one family only.
FAMILY_BRANDS = {
    "bootstrap": _set(
        """apple apple-music browser-chrome browser-edge browser-firefox browser-safari css git line
        markdown
    medium messenger meta nvme signal sina-weibo stack-overflow steam tencent-qq threads unity
    windows"""
    ),
    "flat-color": _set("linux steam vlc"),
    "hugeicons": _set(
        """apple apple-finder apple-intelligence apple-news brandfetch chrome cpp hangout ethereum
        framer gnome java litecoin
        loom matrix medium medium-square messenger meta mollie mymind nike notion php pocket python react
        safari shadcn sketch skool threads tiltify waze x-twitter new-twitter zoom zoom-circle
        zoom-square"""
    ),
    "icon-park": _set(
        """apple baokemeng browser-chrome gopro tencent-qq weixin-market benz bydesign dianziqian
        dribble faceu fanqiexiaoshuo feiyu huoshanzhibo intercom
        lark lincoln oceanengine qiyehao sketch tuchong windows xiaodu xigua xingfuli xingtu zijinyunying
        browser-safari"""
    ),
    "iconoir": _set(
        """apple finder vue-js git linux medium pocket safari threads unity unity-5
        windows x x-square"""
    ),
    "mage": _set(
        """apple line medium messenger meta notion playstore steam threads threads-square visa
        visa-square"""
    ),
    "mingcute": _set(
        """apple apple-intelligence apple-intelligence-frame appstore chrome edge ethereum firefox
        kakao-talk line linux medium messenger meta
        netease-music notion qq react safari steam vue threads visa windows"""
    ),
    "unicons": _set("opera apple line linux pagelines react visual-studio windows intercom"),
}

_WAYS = ("up", "down", "left", "right", "up-left", "up-right", "down-left", "down-right")

# Names that mean another thing in one family: the name to read instead, also at the start of a longer name.
FAMILY_NAMES = {
    "bootstrap": {
        "box-arrow": "square-arrow",
        **{f"box-arrow-in-{way}": "arrow-into-a-square" for way in _WAYS},
    },
    "healthicons": {"stop": "hand-circle"},
    "hugeicons": {
        "bolt": "hex-nut",
        "cancel": "x",
        "cancel-circle-half-dot": "x-circle",
        "dashboard-circle": "dashboard-tiles",
        "dashboard-square": "dashboard-tiles",
        "dashboard-square-setting": "dashboard-tiles-settings",
        "school-bell": "bell",
        "grid2x": "grid",
        "grid2x2": "grid",
        "grid3x": "grid",
        "pound": "pound-sterling",
        "pound-receive": "pound-receive",
        "pound-send": "pound-send",
        "pound-sterling": "pound-sterling",
    },
    "ion": {"remove": "minus", "school": "graduation-cap"},
    "lucide": {"bolt": "hex-nut"},
    "mage": {
        "bolt": "hex-nut",
        "dashboard": "dashboard-tiles",
        "dashboard-bar": "dashboard-bar",
        "dashboard-chart": "dashboard-chart",
        "dashboard-circle": "dashboard-circle",
        "dashboard-cross": "dashboard-tiles-x",
    },
    "material-symbols": {
        "add-a-photo": "camera-add",
        "add-moderator": "shield-add",
        "add-reaction": "smile-add",
        **{f"add-{word}": f"{word}-add" for word in ("call", "comment", "home", "link", "location")},
        **{f"add-{word}": f"{word}-add" for word in ("shopping-cart", "location-alt")},
        **{f"edit-{word}": f"{word}-edit" for word in ("calendar", "document", "location", "notifications")},
        "cancel": "x-circle",
        "cancel-presentation": "x-rect",
        "cancel-schedule-send": "send-x",
        "dashboard": "dashboard-tiles",
        "dashboard-2": "dashboard-tiles",
        "dashboard-customize": "dashboard-tiles-add",
        "hide-image": "image-off",
        "no-accounts": "account-off",
        "no-crash": "car-check",
        "no-encryption": "lock-off",
        "no-luggage": "luggage-off",
        "no-meals": "restaurant-off",
        "no-photography": "camera-off",
        "school": "graduation-cap",
    },
    "mdi": {
        "bolt": "screw",
        "favorite": "star",
        "graph": "network-graph",
        "human-female-female": "two-women",
        "human-male-male": "two-men",
        "human-female-female-child": "two-women-and-a-child",
        "human-male-male-child": "two-men-and-a-child",
        "school": "graduation-cap",
    },
    "octicon": {"stop": "exclamation-octagon", "tools": "wrench"},
    "phosphor": {
        "arrow-square-in": "arrow-into-a-square",
        "dots-three-circle-vertical": "dots-three-vertical-circle",
        "graph": "network-graph",
    },
    "tabler": {
        "school": "graduation-cap",
        "school-bell": "bell",
        "tools": "pencil-ruler",
        "tools-kitchen": "tools-kitchen",
    },
    "tdesign": {"dashboard-1": "dashboard-tiles", "tools": "wrench"},
    "unicons": {"cancel": "backspace", "favorite": "star"},
}

# Families that put the class before the kind: `building-church`, `device-laptop`, `emoji-wink`.
CLASSES = {
    **dict.fromkeys(("device", "devices", "food", "weather", "sport", "fruit", "animal"), "{}"),
    **dict.fromkeys(("emoji", "emoticon", "mood", "smiley", "face"), "{} face"),
    "building": "{} building",
    "ball": "{} ball",
    "leaf": "{} leaf",
    "glass": "{} glass",
    "chart": "{} chart",
    "filetype": "{} file",
    "file": "{} file",
    "hour": "clock at {} o'clock",
    "zodiac": "{} zodiac sign",
    "currency": "{} currency sign",
    "gender": "{} gender sign",
    "dice": "die showing {}",
    "math": "{} math symbol",
    "road": "{} road",
    "lamp": "{} lamp",
    "shoe": "{} shoe",
    "knife": "{} knife",
    "soccer": "soccer {}",
}

# The only replacements inside a longer name: `home-heart`, `user-circle`.
INSIDE = {
    **dict.fromkeys(("account", "user", "human"), "person"),
    "users": "people",
    "home": "house",
    **dict.fromkeys(("mail", "email"), "envelope"),
    **dict.fromkeys(("image", "photo"), "picture"),
    "cog": "gear",
    "bike": "bicycle",
    "plane": "airplane",
    "earmark": "document",
    "mic": "microphone",
    "cellphone": "mobile phone",
}
PLURAL_FIRST = _set("arrows chevrons circles squares lines dots bars letters hands layers")
