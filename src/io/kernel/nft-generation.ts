// The number of a ruleset's present state: every transaction, of anybody's, changes it. Who reads a ruleset in several dumps
// asks before and after.
import { putGenHeader, takeGenHeader } from '../../core/netlink/nfgenmsg.ts'
import { GENERATION, nftType } from '../../core/nft/nfnetlink.ts'
import { ERRNO, KernelError } from './kernel-error.ts'
import type { NetlinkSocket } from './netlink-socket.ts'

export function readGeneration(socket: NetlinkSocket): number {
  const id = socket.get({ op: 'read generation', type: nftType('GETGEN'), body: w => putGenHeader(w, 0) }, m => {
    takeGenHeader(m.body)
    return GENERATION.decode(m.body).id
  })
  if (id === undefined) throw new KernelError('read generation', ERRNO.EPROTO)
  return id
}
