// Packets of rules with `log group`: who binds a group gets them. And whether somebody must: the kernel writes the lines
// of `log` itself, but not those of every network namespace.
import type { Message } from '../../core/netlink/message.ts'
import { decodeLoggedPacket, encodeBindLog, type LoggedPacket, lostBetween, NFLOG } from '../../core/netlink/nflog.ts'
import { readLink } from './links.ts'
import { NETLINK, NetlinkSocket } from './netlink-socket.ts'
import { readSysctl } from './sysctl.ts'

const ALL_NAMESPACES = 'net/netfilter/nf_log_all_netns'
const FIRST_PROCESS = '/proc/1/ns/net'

/**
 * Whether the kernel's log has lines of the rules of a namespace: of the first, which alone has this setting, and of the
 * others if it is 1. Where that cannot be asked it has not.
 */
export function kernelLogs(netns?: string): boolean {
  if (readSysctl(ALL_NAMESPACES, netns) !== undefined) return true
  try {
    return readSysctl(ALL_NAMESPACES, FIRST_PROCESS) === '1'
  } catch {
    return false
  }
}

/** Of a packet everything up to the ports, however long its IPv6 headers are within reason. */
const RANGE = 128
/** A line comes within a tenth of a second, and a flood of packets does not come one by one. */
const BINDING = { range: RANGE, threshold: 32, timeout: 10 } as const

export type NamedPacket = LoggedPacket & { readonly in: string; readonly out: string }

export type LogHandler = {
  readonly packets: (packets: readonly NamedPacket[]) => void
  /** So many could not be handed over: they came faster than they were read. */
  readonly lost: (count: number) => void
}

/**
 * Hands over the packets of a group until the returned function is called. EPERM if somebody else has the group, and
 * another KernelError if there is no such thing as NFLOG.
 */
export function watchLog(
  group: number,
  handler: LogHandler,
  { netns, bufferBytes }: { readonly netns?: string; readonly bufferBytes?: number } = {},
): () => void {
  const socket = new NetlinkSocket(NETLINK.NETFILTER, netns)
  try {
    socket.request({
      op: 'bind log group',
      object: String(group),
      type: NFLOG.CONFIG,
      body: w => encodeBindLog(w, { group, ...BINDING }),
    })
  } catch (error) {
    socket.close()
    throw error
  }
  const links = new NetlinkSocket(NETLINK.ROUTE, netns)
  // A group that is just bound counts from 0.
  let last: number | undefined = -1
  const messages = (received: readonly Message[]): void => {
    const names = new Map<number, string>([[0, '']])
    const nameOf = (index: number): string => {
      const name = names.get(index) ?? readLink(links, index)?.name ?? `if${index}`
      names.set(index, name)
      return name
    }
    const packets = received.filter(m => m.type === NFLOG.PACKET).map(m => decodeLoggedPacket(m.body))
    let lost = 0
    for (const { number } of packets) {
      lost += lostBetween(last, number)
      last = number
    }
    if (lost > 0) handler.lost(lost)
    handler.packets(packets.map(p => ({ ...p, in: nameOf(p.inIndex), out: nameOf(p.outIndex) })))
  }
  // What an overrun lost is missing in the numbers of what comes next.
  const stop = socket.listen({ messages, overrun: () => {} }, { ...(bufferBytes !== undefined && { bufferBytes }) })
  return () => {
    stop()
    links.close()
  }
}
