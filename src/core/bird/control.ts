// BIRD's answers on its control socket. A reply is lines with a four-digit code: `1002-` goes on, `0000 ` ends it, a line that
// begins with a space repeats the code before it, and one with `+` is news that nobody asked for. Codes from 8000 up are errors.

export type ReplyLine = { readonly code: number; readonly text: string }
export type BirdReply = {
  readonly lines: readonly ReplyLine[]
  /** The code of the last line: 0000-0999 done, 8000-8999 the command failed, 9000-9999 it was not understood. */
  readonly code: number
}

export const isError = (reply: BirdReply): boolean => reply.code >= 8000

/** What a reply says, for an error or a log. */
export const replyText = (reply: BirdReply): string =>
  reply.lines
    .map(line => line.text.trim())
    .filter(text => text !== '')
    .join('; ')

/** Takes the first whole reply off the front of what was received, or `undefined` while its end is missing. */
export function takeReply(received: string): { readonly reply: BirdReply; readonly rest: string } | undefined {
  const lines: ReplyLine[] = []
  let code = 0
  for (let from = 0; ; ) {
    const end = received.indexOf('\n', from)
    if (end < 0) return undefined
    const line = received.slice(from, end)
    from = end + 1
    if (line.startsWith('+')) continue
    const coded = /^(\d{4})([ -])(.*)$/.exec(line)
    if (coded === null) {
      lines.push({ code, text: line.slice(1) })
      continue
    }
    code = Number(coded[1])
    lines.push({ code, text: coded[3]! })
    if (coded[2] === ' ') return { reply: { lines, code }, rest: received.slice(from) }
  }
}

export type BirdChannel = {
  /** `ipv4` or `ipv6`. */
  readonly name: string
  readonly state: string
  readonly imported: number
  readonly exported: number
  readonly preferred: number
}

export type BirdProtocol = {
  readonly name: string
  /** `BGP`, `Kernel`, `Static`, … */
  readonly proto: string
  readonly table: string
  /** `up`, `start`, `down`, … */
  readonly state: string
  /** `2026-11-24 07:55:18`, in BIRD's own time zone. */
  readonly since: string
  readonly info: string
  /** Of BGP only. */
  readonly bgp?: {
    readonly state: string
    readonly address: string
    readonly as: number
    readonly lastError?: string
  }
  readonly channels: readonly BirdChannel[]
}

const [SUMMARY, DETAIL] = [1002, 1006]
const SUMMARY_LINE = /^(\S+)\s+(\S+)\s+(\S+)\s+(\S+)\s+(\S+ \d\d:\d\d:\d\d(?:\.\d+)?)\s*(.*)$/

/** Reads the reply to `show protocols all`. Lines that it does not know it passes over. */
export function parseProtocols(reply: BirdReply): BirdProtocol[] {
  const protocols: BirdProtocol[] = []
  let details: string[] = []
  let summary: RegExpExecArray | null = null
  const finish = (): void => {
    if (summary !== null) protocols.push(makeProtocol(summary, details))
    details = []
  }
  for (const { code, text } of reply.lines) {
    if (code === SUMMARY) {
      finish()
      summary = SUMMARY_LINE.exec(text)
    } else if (code === DETAIL) details.push(text)
  }
  finish()
  return protocols
}

function makeProtocol(summary: RegExpExecArray, details: readonly string[]): BirdProtocol {
  const [, name, proto, table, state, since, info] = summary as unknown as readonly string[]
  const value = (key: string, lines = details): string | undefined => {
    const line = lines.find(text => text.trimStart().startsWith(`${key}:`))
    return line?.slice(line.indexOf(':') + 1).trim()
  }
  const starts = details.flatMap((text, index) => (/^\s+Channel \S+$/.test(text) ? [index] : []))
  const channels = starts.map((start, n): BirdChannel => {
    const lines = details.slice(start, starts[n + 1] ?? details.length)
    const routes = value('Routes', lines) ?? ''
    const count = (word: string): number => Number(new RegExp(`(\\d+) ${word}`).exec(routes)?.[1] ?? 0)
    return {
      name: lines[0]!.trim().slice('Channel '.length),
      state: value('State', lines) ?? '',
      imported: count('imported'),
      exported: count('exported'),
      preferred: count('preferred'),
    }
  })
  const bgpState = value('BGP state')
  const lastError = value('Last error')
  const bgp = bgpState !== undefined && {
    state: bgpState,
    address: value('Neighbor address') ?? '',
    as: Number(value('Neighbor AS') ?? 0),
    ...(lastError === undefined ? {} : { lastError }),
  }
  return {
    name: name!,
    proto: proto!,
    table: table!,
    state: state!,
    since: since!,
    info: info!.trim(),
    channels,
    ...(bgp ? { bgp } : {}),
  }
}

/** A complaint about the configuration: `/path/bird.conf:12:34 syntax error, …`. */
export function parseComplaint(text: string): { readonly line: number; readonly message: string } | undefined {
  const found = /:(\d+):\d+ (.+)$/.exec(text)
  return found === null ? undefined : { line: Number(found[1]), message: found[2]! }
}
