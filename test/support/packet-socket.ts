// Packet sockets at the far end of a wire (packet(7)): one that only sends, past the queueing discipline, and one that sees
// every packet of a family that arrives.
import { inNetns } from '../../src/io/kernel/netns.ts'
import { AF, bind, close, SO, SOCK, SOL, setOption, socket } from '../../src/io/kernel/sys.ts'
import type { Wire } from './pod-lab.ts'

const SOL_PACKET = 263
const PACKET_QDISC_BYPASS = 20
/** ETH_P_IP and ETH_P_IPV6 in network byte order, as the kernel wants them in an integer. */
const PROTOCOL = { 4: 0x0008, 6: 0xdd86 } as const
const BUFFER = 64 * 1024 * 1024

function opened({ netns, index }: Pick<Wire, 'netns' | 'index'>, protocol: number): number {
  const fd = inNetns(netns, () => socket(AF.PACKET, SOCK.RAW, protocol))
  try {
    // struct sockaddr_ll
    const address = new Uint8Array(20)
    const view = new DataView(address.buffer)
    view.setUint16(0, AF.PACKET, true)
    view.setUint16(2, protocol, true)
    view.setInt32(4, index, true)
    bind(fd, address)
    return fd
  } catch (error) {
    close(fd)
    throw error
  }
}

export function openSender(wire: Pick<Wire, 'netns' | 'index'>): number {
  const fd = opened(wire, 0)
  setOption(fd, SOL_PACKET, PACKET_QDISC_BYPASS, 1)
  setOption(fd, SOL.SOCKET, SO.SNDBUFFORCE, BUFFER)
  return fd
}

export function openSniffer(wire: Pick<Wire, 'netns' | 'index'>, family: 4 | 6 = 4): number {
  const fd = opened(wire, PROTOCOL[family])
  setOption(fd, SOL.SOCKET, SO.RCVBUFFORCE, BUFFER)
  return fd
}
