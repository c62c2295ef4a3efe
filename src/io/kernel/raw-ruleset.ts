// The whole ruleset of a namespace as raw message bodies, for the proof: all tables, also those of others, because their
// chains sit on the same hooks. Nothing is decoded here but what it takes to ask for the elements of each set.
// Repeated until the ruleset's generation stood still meanwhile: element dumps do not say that they were interrupted.
import { eachAttribute, putAttribute, text } from '../../core/netlink/attributes.ts'
import { Reader, type Writer } from '../../core/netlink/bytes.ts'
import type { Message } from '../../core/netlink/message.ts'
import { putGenHeader, takeGenHeader } from '../../core/netlink/nfgenmsg.ts'
import { type NftMessage, nftType } from '../../core/nft/nfnetlink.ts'
import type { RawRuleset } from '../../core/proof/raw.ts'
import { ERRNO, KernelError } from './kernel-error.ts'
import { NETLINK, NetlinkSocket } from './netlink-socket.ts'
import { readGeneration } from './nft-generation.ts'

const TRIES = 20
const UNSPEC = 0

export class RawRulesetReader {
  readonly #socket: NetlinkSocket

  constructor(netns?: string) {
    this.#socket = new NetlinkSocket(NETLINK.NETFILTER, netns)
  }

  close(): void {
    this.#socket.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** Throws a KernelError (EAGAIN) when the ruleset never stood still. */
  read(): RawRuleset {
    for (let attempt = 0; attempt < TRIES; attempt++) {
      try {
        const found = this.#readOnce()
        if (found) return found
      } catch (error) {
        // A set that went while we read.
        if (!(error instanceof KernelError && error.isMissing)) throw error
      }
    }
    throw new KernelError('read ruleset', ERRNO.EAGAIN, { detail: 'it kept changing while read' })
  }

  #readOnce(): RawRuleset | undefined {
    const generation = readGeneration(this.#socket)
    let still = true
    const dump = (op: string, type: NftMessage, body: (w: Writer) => void): Uint8Array[] =>
      this.#socket.dump({ op, type: nftType(type), body }, (m: Message) => {
        const bytes = m.body.bytes.slice(m.body.at, m.body.end)
        if (takeGenHeader(m.body).resource !== (generation & 0xffff)) still = false
        return bytes
      })
    const all = (w: Writer): void => putGenHeader(w, UNSPEC)
    const tables = dump('read tables', 'GETTABLE', all)
    const chains = dump('read chains', 'GETCHAIN', all)
    const sets = dump('read sets', 'GETSET', all)
    const elements: Uint8Array[] = []
    for (const set of sets) {
      if (!still) return undefined
      const { family, table, name } = nameOf(set)
      const found = dump(`read set ${name}`, 'GETSETELEM', w => {
        putGenHeader(w, family)
        putAttribute(w, 1, text, table)
        putAttribute(w, 2, text, name)
      })
      for (const body of found) elements.push(body)
    }
    const rules = dump('read rules', 'GETRULE', all)
    if (!still || readGeneration(this.#socket) !== generation) return undefined
    return { generation, tables, chains, sets, elements, rules }
  }
}

function nameOf(body: Uint8Array): { family: number; table: string; name: string } {
  const r = new Reader(body)
  const { family } = takeGenHeader(r)
  const names = { table: '', name: '' }
  for (const { type, payload } of eachAttribute(r)) {
    if (type === 1) names.table = text.decode(payload)
    if (type === 2) names.name = text.decode(payload)
  }
  return { family, ...names }
}
