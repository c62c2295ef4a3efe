// Forgets every connection of a namespace: a generator of new flows would fill the table of 262,144 in a second or two.
import { putGenHeader } from '../../src/core/netlink/nfgenmsg.ts'
import { NETLINK, NetlinkSocket } from '../../src/io/kernel/netlink-socket.ts'

/** NFNL_SUBSYS_CTNETLINK and IPCTNL_MSG_CT_DELETE (linux/netfilter/nfnetlink_conntrack.h): without a tuple, all. */
const DELETE = (1 << 8) | 2

export class Conntrack {
  readonly #socket: NetlinkSocket

  constructor(netns: string) {
    this.#socket = new NetlinkSocket(NETLINK.NETFILTER, netns)
  }

  flush(): void {
    this.#socket.request({ op: 'flush conntrack', type: DELETE, body: w => putGenHeader(w, 0) })
  }

  close(): void {
    this.#socket.close()
  }
}
