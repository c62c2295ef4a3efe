// A program for XDP that drops everything an interface receives, before the kernel's stack sees it: two instructions, attached
// by a link that ends when it is closed.
import { createRequire } from 'node:module'
import { readLink } from '../../src/io/kernel/links.ts'
import { NETLINK, NetlinkSocket } from '../../src/io/kernel/netlink-socket.ts'
import { inNetns } from '../../src/io/kernel/netns.ts'
import { close } from '../../src/io/kernel/sys.ts'

const addon = createRequire(import.meta.url)('../../build/gingham.node') as {
  readonly SYS_bpf: number
  syscall(nr: number, ...args: (number | Uint8Array)[]): number
  addr(bytes: Uint8Array): bigint
}
const PROG_LOAD = 5
const LINK_CREATE = 28
const PROG_TYPE_XDP = 6
const ATTACH_XDP = 37
/** In the stack's own receive path, which every device has. */
const SKB_MODE = 2
/** r0 = XDP_DROP; exit. */
const DROP = Uint8Array.of(0xb7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0)
const LICENSE = Buffer.from('GPL\0')

function bpf(command: number, fill: (attributes: DataView) => void): number {
  const attributes = new Uint8Array(128)
  fill(new DataView(attributes.buffer))
  const fd = addon.syscall(addon.SYS_bpf, command, attributes, attributes.length)
  if (fd < 0) throw new Error(`bpf command ${command}: errno ${-fd}`)
  return fd
}

/** Drops until the returned function is called. */
export function dropByXdp(netns: string, name: string): () => void {
  const program = bpf(PROG_LOAD, a => {
    a.setUint32(0, PROG_TYPE_XDP, true)
    a.setUint32(4, DROP.length / 8, true)
    a.setBigUint64(8, addon.addr(DROP), true)
    a.setBigUint64(16, addon.addr(LICENSE), true)
  })
  try {
    using socket = new NetlinkSocket(NETLINK.ROUTE, netns)
    const { index } = readLink(socket, name)!
    const link = inNetns(netns, () =>
      bpf(LINK_CREATE, a => {
        a.setUint32(0, program, true)
        a.setUint32(4, index, true)
        a.setUint32(8, ATTACH_XDP, true)
        a.setUint32(12, SKB_MODE, true)
      }),
    )
    return () => close(link)
  } finally {
    close(program)
  }
}
