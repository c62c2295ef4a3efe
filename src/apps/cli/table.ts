// Tables as calicoctl prints them: tab stops (minimum width 5, padding 3), so that scripts that cut columns keep working,
// and the framed table of `ipam show`. Both are plain functions from rows of text to text.

const PADDING = 3
const MIN_WIDTH = 5
const width = (cell: string): number => [...cell].length

/** Rows of equal length, each cell (the last one too) padded to its column; one line per row. The first row is the heading. */
export function tabStops(rows: readonly (readonly string[])[]): string {
  const widths: number[] = []
  for (const row of rows) {
    for (const [i, cell] of row.entries()) {
      widths[i] = Math.max(widths[i] ?? MIN_WIDTH, width(cell) + PADDING)
    }
  }
  const line = (row: readonly string[]): string =>
    row.map((cell, i) => cell + ' '.repeat(widths[i]! - width(cell))).join('')
  return rows.map(row => `${line(row)}\n`).join('')
}

/** A table for people: two spaces between columns, none at the end of a line. */
export function columns(rows: readonly (readonly string[])[], indent = ''): string[] {
  const widths: number[] = []
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, width(cell))
  return rows.map(row =>
    (indent + row.map((cell, i) => cell + ' '.repeat(widths[i]! - width(cell))).join('  ')).trimEnd(),
  )
}

/** A framed table; `right` names the columns (from 0) whose cells, but not headings, are set flush right. */
export function framed(
  heading: readonly string[],
  rows: readonly (readonly string[])[],
  right: readonly number[] = [],
): string {
  const widths = heading.map((head, i) => Math.max(width(head), ...rows.map(row => width(row[i] ?? ''))))
  const border = `+${widths.map(w => '-'.repeat(w + 2)).join('+')}+\n`
  const line = (row: readonly string[], flushed: boolean): string =>
    `|${widths
      .map((w, i) => {
        const cell = row[i] ?? ''
        const space = ' '.repeat(w - width(cell))
        return flushed && right.includes(i) ? ` ${space}${cell} ` : ` ${cell}${space} `
      })
      .join('|')}|\n`
  return (
    border + line(heading, false) + border + rows.map(row => line(row, true)).join('') + (rows.length ? border : '')
  )
}
