"""Small files of data sets, written without the libraries that read them."""

import struct
import zipfile

__all__ = ["idx_file", "write_excel"]


def idx_file(values):
    """Return bytes [...] as an IDX file."""
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


def write_excel(path, rows):
    """Write the smallest workbook: one sheet, with text inside of its cells."""

    def cell(value):
        if value is None:
            return "<c/>"
        if isinstance(value, str):
            return f'<c t="inlineStr"><is><t>{value}</t></is></c>'
        return f'<c t="b"><v>{int(value)}</v></c>' if isinstance(value, bool) else f"<c><v>{value!r}</v></c>"

    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006/relationships"
    lines = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "xl/worksheets/sheet1.xml", f'<worksheet xmlns="{main}"><sheetData>{lines}</sheetData></worksheet>'
        )
        archive.writestr("xl/workbook.xml", f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>'
                         '<sheet name="beans" sheetId="1" r:id="rId1"/></sheets></workbook>')  # fmt: skip
        for name, kind, target in (("_rels/.rels", "officeDocument", "xl/workbook.xml"),
                                   ("xl/_rels/workbook.xml.rels", "worksheet", "worksheets/sheet1.xml")):  # fmt: skip
            archive.writestr(name, f'<Relationships xmlns="{package}"><Relationship Id="rId1" '
                             f'Type="{office}/{kind}" Target="{target}"/></Relationships>')  # fmt: skip
