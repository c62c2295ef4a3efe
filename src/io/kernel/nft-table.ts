// Tables of nftables in the namespace that the connection was opened in: batches go in, whole tables come out.
// A batch is one call, one transaction. A read is repeated until the ruleset's generation stood still meanwhile, because
// element dumps do not say that they were interrupted.
import { eachAttribute, putAttribute, text } from '../../core/netlink/attributes.ts'
import type { Reader, Writer } from '../../core/netlink/bytes.ts'
import type { Message } from '../../core/netlink/message.ts'
import { putGenHeader, takeGenHeader } from '../../core/netlink/nfgenmsg.ts'
import { TableDump } from '../../core/nft/decode.ts'
import { type BatchTable, encodeBatch } from '../../core/nft/encode.ts'
import { EXPRESSIONS } from '../../core/nft/expressions.ts'
import { GENERATION, NFNLGRP_NFTABLES, NFPROTO_INET, type NftMessage, nftType } from '../../core/nft/nfnetlink.ts'
import type { NftOp, NftTable } from '../../core/nft/objects.ts'
import { ERRNO, KernelError } from './kernel-error.ts'
import { ackError, NETLINK, NetlinkSocket, subscribe } from './netlink-socket.ts'
import { readGeneration } from './nft-generation.ts'

const READ_TRIES = 20

export type Counter = { readonly packets: number; readonly bytes: number }

export class NftConnection {
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

  /** The number of the ruleset's present state; every transaction, of anybody's, changes it. */
  generation(): number {
    return readGeneration(this.#socket)
  }

  /**
   * Applies all operations as one transaction, or throws a KernelError that names the first refused object. `table` tells
   * the name and the sets that rules look up. With `generation`, the batch is refused (ERESTART, `isBusy`) if anybody
   * changed anything since.
   */
  writeBatch(ops: readonly NftOp[], table: BatchTable, generation?: number): void {
    if (ops.length === 0) return
    const seq = this.#socket.nextSeq()
    const { bytes, about } = encodeBatch(ops, table, { seq, generation })
    this.#socket.advanceSeq(about.length)
    this.#socket.sendBytes(`write table ${table.name}`, bytes)
    let refused: KernelError | undefined
    let answered = false
    for (const { seq: of, ack } of this.#socket.answers()) {
      const index = (of - seq) >>> 0
      const object = about[index]
      if (object === undefined) continue
      answered = true
      if (ack.errno !== 0) refused ??= ackError(object.op, object.object, ack)
    }
    if (refused) throw refused
    if (!answered) throw new KernelError(`write table ${table.name}`, ERRNO.EPROTO, { detail: 'no acknowledgement' })
  }

  /** Removes a table with everything in it; false when there is none. */
  deleteTable(name: string): boolean {
    try {
      this.writeBatch([{ op: 'delete-table' }], { name, sets: [] })
      return true
    } catch (error) {
      if (error instanceof KernelError && error.isMissing) return false
      throw error
    }
  }

  /** The table as it stands (with `unknown` for what is not understood); undefined when there is none of that name. */
  readTable(name: string): NftTable | undefined {
    for (let attempt = 0; attempt < READ_TRIES; attempt++) {
      const found = this.#readOnce(name)
      if (found !== 'changed') return found
    }
    throw new KernelError('read table', ERRNO.EAGAIN, { object: name, detail: 'it kept changing while read' })
  }

  /** One attempt. The bytes handed to the dump are borrowed: it decodes them at once. */
  #readOnce(name: string): NftTable | undefined | 'changed' {
    const generation = this.generation()
    const dump = new TableDump(name)
    let still = true
    const each = (take: (body: Reader) => void) => (m: Message) => {
      if (takeGenHeader(m.body).resource !== (generation & 0xffff)) still = false
      take(m.body)
    }
    const table = (w: Writer) => {
      putGenHeader(w, NFPROTO_INET)
      putAttribute(w, 1, text, name)
    }
    try {
      const present = this.#socket.get(
        { op: 'read table', object: name, type: nftType('GETTABLE'), body: table },
        m => {
          each(b => dump.table(b))(m)
          return true
        },
      )
      if (!present) return undefined
      this.#dump(
        'read chains',
        'GETCHAIN',
        w => putGenHeader(w, NFPROTO_INET),
        each(b => dump.chain(b)),
      )
      this.#dump(
        'read sets',
        'GETSET',
        table,
        each(b => dump.set(b)),
      )
      for (const set of dump.setNames) {
        const body = (w: Writer) => {
          table(w)
          putAttribute(w, 2, text, set)
        }
        const read = () =>
          this.#dump(
            `read set ${set}`,
            'GETSETELEM',
            body,
            each(b => dump.elements(set, b)),
          )
        read()
        for (let attempt = 1; !dump.isWhole(set); attempt++) {
          if (attempt === READ_TRIES) return 'changed'
          read()
        }
      }
      this.#dump(
        'read rules',
        'GETRULE',
        table,
        each(b => dump.rule(b)),
      )
    } catch (error) {
      // A set that went while we read.
      if (error instanceof KernelError && error.isMissing) return 'changed'
      throw error
    }
    return still && this.generation() === generation ? dump.result() : 'changed'
  }

  #dump(op: string, name: NftMessage, body: (w: Writer) => void, decode: (m: Message) => void): void {
    this.#socket.dump({ op, type: nftType(name), body }, decode)
  }

  /**
   * The counters of every chain, in the order of its rules. Rules without a counter have no entry.
   * One moment's values: the ruleset may change between two chains.
   */
  readCounters(name: string): Map<string, Counter[]> {
    const found = new Map<string, Counter[]>()
    const body = (w: Writer) => {
      putGenHeader(w, NFPROTO_INET)
      putAttribute(w, 1, text, name)
    }
    this.#dump('read counters', 'GETRULE', body, m => {
      takeGenHeader(m.body)
      collectCounters(m.body, found)
    })
    return found
  }
}

/** Walks a rule's attributes without understanding its expressions: only counters matter. */
function collectCounters(rule: Reader, found: Map<string, Counter[]>): void {
  let chain = ''
  for (const attribute of eachAttribute(rule)) {
    if (attribute.type === 2) chain = text.decode(attribute.payload)
    if (attribute.type !== 4) continue
    for (const { payload } of eachAttribute(attribute.payload)) {
      let name = ''
      for (const part of eachAttribute(payload)) {
        if (part.type === 1) name = text.decode(part.payload)
        else if (name === 'counter') append(found, chain, EXPRESSIONS.counter.decode(part.payload))
      }
    }
  }
}

function append(found: Map<string, Counter[]>, chain: string, { packets = 0, bytes = 0 }: Partial<Counter>): void {
  const counters = found.get(chain)
  if (counters) counters.push({ packets, bytes })
  else found.set(chain, [{ packets, bytes }])
}

/** Opens a connection to the namespace at `netns`, or the process's own. */
export const openNft = (netns?: string): NftConnection => new NftConnection(netns)

export type Transaction = {
  readonly generation: number
  /** The tables of the family inet in which it changed something. */
  readonly tables: ReadonlySet<string>
  /** Who did it: a process (or rather its socket) and its name. */
  readonly pid: number | undefined
  readonly program: string | undefined
}

/** The table that an object's message speaks of, which is its first attribute whatever the object is. */
function inetTable(body: Reader): string | undefined {
  if (takeGenHeader(body).family !== NFPROTO_INET) return undefined
  for (const { type, payload } of eachAttribute(body)) return type === 1 ? text.decode(payload) : undefined
  return undefined
}

/** Tells of every transaction on the ruleset, and when some were missed. */
export function watchNft(
  handler: { changed: (by: Transaction) => void; overrun: () => void },
  netns?: string,
): () => void {
  const what = { protocol: NETLINK.NETFILTER, groups: [NFNLGRP_NFTABLES], ...(netns === undefined ? {} : { netns }) }
  // A transaction's objects come before its generation, maybe in several datagrams.
  let tables = new Set<string>()
  return subscribe(what, {
    overrun: handler.overrun,
    messages: messages => {
      for (const m of messages) {
        if (m.type !== nftType('NEWGEN')) {
          const name = inetTable(m.body)
          if (name !== undefined) tables.add(name)
          continue
        }
        takeGenHeader(m.body)
        const { id, pid, name } = GENERATION.decode(m.body)
        const by = { tables, pid, program: name }
        tables = new Set()
        if (id !== undefined) handler.changed({ generation: id, ...by })
      }
    },
  })
}
