// Inclusive port ranges and their algebra: what a list of ports covers, and how a set of boundaries cuts 0..65535.

export type PortRange = { readonly first: number; readonly last: number }

export const ALL_PORTS: PortRange = { first: 0, last: 65535 }

/** `80` or `8000-9000`. */
export const printRange = (r: PortRange): string => (r.first === r.last ? String(r.first) : `${r.first}-${r.last}`)

export const inRanges = (ranges: readonly PortRange[], port: number): boolean =>
  ranges.some(r => r.first <= port && port <= r.last)

/** Sorted, disjoint and not adjacent; the same ports. */
export function mergeRanges(ranges: readonly PortRange[]): PortRange[] {
  const merged: { first: number; last: number }[] = []
  for (const r of [...ranges].sort((a, b) => a.first - b.first || a.last - b.last)) {
    const end = merged.at(-1)
    if (end && r.first <= end.last + 1) end.last = Math.max(end.last, r.last)
    else merged.push({ ...r })
  }
  return merged
}

/** Cuts 0..65535 into the pieces on which no given range changes its answer, in order. */
export function cutPorts(ranges: Iterable<PortRange>): PortRange[] {
  const starts = new Set([0])
  for (const r of ranges) {
    starts.add(r.first)
    if (r.last < 65535) starts.add(r.last + 1)
  }
  const sorted = [...starts].sort((a, b) => a - b)
  return sorted.map((first, i) => ({ first, last: (sorted[i + 1] ?? 65536) - 1 }))
}
