"""What the scripts that write a table into a page of docs/ share."""


def share(value):
    """.0645"""
    return f"{value:.4f}".lstrip("0")


def write_table(page, name, table):
    """Between the marks <!-- NAME: begin --> and <!-- NAME: end --> of the page."""
    text = page.read_text(encoding="utf-8")
    mark = f"<!-- {name}: begin -->"
    begin, end = text.index(mark) + len(mark), text.index(f"<!-- {name}: end -->")
    page.write_text(f"{text[:begin]}\n{table}\n{text[end:]}", encoding="utf-8")
