"""A bar chart as SVG, readable on light and on dark."""

from xml.sax.saxutils import escape

OTHERS = ("COPY", "INSERT", "bare", "ClickHouse", "kcat", "Python")


def bars(path, title, values, unit):
    """values: (name, number); ours are those that do not begin with a name of OTHERS."""
    most = max(v for _, v in values)
    row, left, width, top = 26, 250, 460, 50
    height = top + row * len(values) + 16
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="820" height="{height}" '
           'font-family="sans-serif" font-size="13">',
           '<style>text{fill:#555}.t{font-weight:bold}.o{fill:#2a7}.p{fill:#999}'
           '@media(prefers-color-scheme:dark){text{fill:#bbb}}</style>',
           f'<text class="t" x="10" y="24">{escape(title)} ({unit})</text>']
    for i, (name, value) in enumerate(values):
        y = top + i * row
        peer = name.startswith(OTHERS)
        out.append(f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>'
                   f'<rect class="{"p" if peer else "o"}" x="{left}" y="{y}" rx="2" height="17" '
                   f'width="{max(1, value / most * width):.0f}"/>'
                   f'<text x="{left + value / most * width + 8:.0f}" y="{y + 13}">{value:,.0f}</text>')
    with open(path, "w") as f:
        f.write("\n".join(out) + "\n</svg>\n")
