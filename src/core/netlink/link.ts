// Network interfaces (RTM_*LINK): what is read of one, and the requests that make, change and remove one.

import type { Addr } from '../net/addr.ts'
import { attributes, be16, bytes, type Codec, putAttribute, text, u8, u32 } from './attributes.ts'
import { DecodeError, Reader, type Writer } from './bytes.ts'
import { address, mac } from './rtnetlink.ts'

const IFF_UP = 1
const IFF_LOOPBACK = 8
const IFF_RUNNING = 0x40

export type Link = {
  readonly index: number
  readonly name: string
  /** Switched on; `running` also has a carrier. */
  readonly up: boolean
  readonly running: boolean
  readonly loopback: boolean
  readonly mtu: number
  /** Link-layer address, when it has one. */
  readonly mac?: string | undefined
  /** `veth`, `bridge`, `vxlan`; absent for hardware and loopback. */
  readonly kind?: string | undefined
  /** Index of the bridge or bond that it belongs to. */
  readonly master?: number | undefined
  /** Of a veth: its peer's index, in the namespace `peerNetns` (the kernel's own number for it; absent: the same namespace). */
  readonly peer?: number | undefined
  readonly peerNetns?: number | undefined
  readonly alias?: string | undefined
  readonly vxlan?: Vxlan | undefined
}

export type Vxlan = {
  readonly id: number
  readonly port: number
  readonly local?: Addr | undefined
  /** Index of the interface that carries it. */
  readonly link?: number | undefined
  readonly learning: boolean
}

/** What a request may set. Absent means: leave it as it is, or the kernel's default. */
export type LinkSpec = {
  /** A new name, for a change; the name, for a new link. */
  readonly name?: string | undefined
  readonly up?: boolean | undefined
  readonly mtu?: number | undefined
  readonly mac?: string | undefined
  readonly master?: number | undefined
  readonly alias?: string | undefined
  /** A number that links have in common. */
  readonly group?: number | undefined
  /** An open descriptor of the network namespace to put it into. */
  readonly netnsFd?: number | undefined
  readonly txQueueLength?: number | undefined
  /** Queues in each direction, for a new link. */
  readonly queues?: number | undefined
}

export type NewLink = LinkSpec & { readonly name: string } & (
    | { readonly kind: 'veth'; readonly peer: LinkSpec & { readonly name: string } }
    | { readonly kind: 'vxlan'; readonly vxlan: Vxlan }
    | { readonly kind: 'bridge' | 'dummy' }
  )

const VXLAN = attributes({
  id: [1, u32],
  link: [3, u32],
  local4: [4, address],
  learning: [7, u8],
  port: [15, be16],
  local6: [17, address],
})

/** The peer of a veth: an ifinfomsg of its own, then attributes. Written only; the kernel does not send it. */
const PEER: Codec<LinkSpec> = {
  nested: true,
  encode: (w, spec) => putLinkHeader(w, 0, spec),
  decode: r => {
    r.take(r.left)
    return {}
  },
}
const VETH = attributes({ peer: [1, PEER] })

const INFO = attributes({ kind: [1, text], data: [2, bytes] })
const LINK = attributes({
  mac: [1, mac],
  name: [3, text],
  mtu: [4, u32],
  link: [5, u32],
  master: [10, u32],
  txQueueLength: [13, u32],
  info: [18, INFO],
  alias: [20, text],
  group: [27, u32],
  netnsFd: [28, u32],
  txQueues: [31, u32],
  rxQueues: [32, u32],
  linkNetns: [37, u32],
})
/** IFLA_EXT_MASK with RTEXT_FILTER_SKIP_STATS: the counters are not sent. */
const EXT_MASK = attributes({ mask: [29, u32] })
const SKIP_STATS = 8

function putInfo(w: Writer, index: number, flags: number, change: number): void {
  w.u32(0) // family, padding, type
  w.u32(index)
  w.u32(flags)
  w.u32(change)
}

function putLinkHeader(w: Writer, index: number, spec: LinkSpec): void {
  putInfo(w, index, spec.up ? IFF_UP : 0, spec.up === undefined ? 0 : IFF_UP)
  LINK.encode(w, {
    mac: spec.mac,
    name: spec.name,
    mtu: spec.mtu,
    master: spec.master,
    txQueueLength: spec.txQueueLength,
    alias: spec.alias,
    group: spec.group,
    netnsFd: spec.netnsFd,
    txQueues: spec.queues,
    rxQueues: spec.queues,
  })
}

/** Body of RTM_NEWLINK (with CREATE and EXCL) for a new link. */
export function encodeNewLink(w: Writer, link: NewLink): void {
  putLinkHeader(w, 0, link)
  const info = w.begin(18 | 0x8000)
  putAttribute(w, 1, text, link.kind)
  if (link.kind === 'veth') putAttribute(w, 2, VETH, { peer: link.peer })
  if (link.kind === 'vxlan') putAttribute(w, 2, VXLAN, vxlanAttributes(link.vxlan))
  w.end(info)
}

function vxlanAttributes({ id, port, local, link, learning }: Vxlan) {
  const six = local?.includes(':') ?? false
  return { id, port, link, learning: learning ? 1 : 0, ...(local && (six ? { local6: local } : { local4: local })) }
}

/** Body of RTM_NEWLINK (without CREATE) that changes link `index`. */
export const encodeChangeLink = (w: Writer, index: number, spec: LinkSpec): void => putLinkHeader(w, index, spec)

/** Body of RTM_DELLINK. */
export const encodeDeleteLink = (w: Writer, index: number): void => putInfo(w, index, 0, 0)

/** Body of RTM_DELLINK for all links of a group in the namespace. */
export const encodeDeleteLinks = (w: Writer, group: number): void => putLinkHeader(w, 0, { group })

/** Body of RTM_GETLINK: one link by index or name, or (with DUMP) all. */
export function encodeGetLink(w: Writer, which: { readonly index?: number; readonly name?: string } = {}): void {
  putInfo(w, which.index ?? 0, 0, 0)
  if (which.name !== undefined) LINK.encode(w, { name: which.name })
  EXT_MASK.encode(w, { mask: SKIP_STATS })
}

/** A link from the body of RTM_NEWLINK or RTM_DELLINK. */
export function decodeLink(r: Reader): Link {
  r.u32()
  const index = r.u32()
  const flags = r.u32()
  r.u32()
  const at = r.at
  const values = LINK.decode(r)
  if (values.name === undefined) throw new DecodeError(`link ${index} without a name`, at)
  const kind = values.info?.kind
  return {
    index,
    name: values.name,
    up: (flags & IFF_UP) !== 0,
    running: (flags & IFF_RUNNING) !== 0,
    loopback: (flags & IFF_LOOPBACK) !== 0,
    mtu: values.mtu ?? 0,
    mac: values.mac,
    kind,
    master: values.master,
    peer: kind === 'veth' ? values.link : undefined,
    peerNetns: kind === 'veth' ? values.linkNetns : undefined,
    alias: values.alias,
    vxlan: kind === 'vxlan' && values.info?.data ? decodeVxlan(values.info.data) : undefined,
  }
}

function decodeVxlan(data: Uint8Array): Vxlan {
  const { id = 0, port = 0, link, learning = 0, local4, local6 } = VXLAN.decode(new Reader(data))
  return { id, port, local: local4 ?? local6, link: link || undefined, learning: learning !== 0 }
}
