// Operations into one nfnetlink batch, which the kernel applies as one transaction or not at all. Every message has a
// sequence number of its own, so that a refusal is told with the object that it is about.

import { putAttribute, text } from '../netlink/attributes.ts'
import { u16At, Writer } from '../netlink/bytes.ts'
import { NLM_F, putMessage } from '../netlink/message.ts'
import { putGenHeader } from '../netlink/nfgenmsg.ts'
import { type AnonymousSet, compile, type FindSet } from './compile.ts'
import { isPipapo, putElement, type Shape } from './elements.ts'
import { EncodeError } from './encode-error.ts'
import type { Expression } from './expressions.ts'
import {
  BATCH_BEGIN,
  BATCH_END,
  batchGeneration,
  CHAIN,
  HOOKS,
  NFPROTO_INET,
  type NftMessage,
  nftType,
  POLICIES,
  RULE,
  SET,
  SET_FLAGS,
  TABLE,
  TABLE_FLAGS,
} from './nfnetlink.ts'
import type { Element, NftChain, NftOp, NftSet, Rule } from './objects.ts'
import { keyCode, keyLength, TYPES, type ValueType, VERDICT_CODE } from './types.ts'
import { commentData, setData } from './userdata.ts'

const NESTED = 0x8000
/** Elements go into messages of at most this: an attribute ends at 64 KiB. */
const SLICE_BYTES = 60_000
const KEY_BYTES_MAX = 64

/** Where the operations apply, and what their rules may look up besides the sets that the operations add. */
export type BatchTable = { readonly name: string; readonly sets: readonly Pick<NftSet, 'name' | 'interval'>[] }

export type Batch = {
  readonly bytes: Uint8Array<ArrayBuffer>
  /** What each message is about, the first being of `firstSeq`: for a refusal. */
  readonly about: readonly About[]
}
export type About = { readonly op: string; readonly object: string }

export type BatchOptions = {
  /** Sequence number of the batch's beginning. */
  readonly seq: number
  /** The generation that the operations were planned against. */
  readonly generation?: number | undefined
}

/** The shape of a named set, for its elements. */
export const shapeOf = (set: Pick<NftSet, 'key' | 'value' | 'interval'>): Shape => ({
  key: set.key as readonly ValueType[],
  value: set.value,
  interval: set.interval,
})

/** Throws an EncodeError when an object cannot be said in nftables (a bug of the caller's). */
export function encodeBatch(ops: readonly NftOp[], table: BatchTable, options: BatchOptions): Batch {
  return new Encoder(ops, table, options).run(ops)
}

class Encoder {
  readonly #w = new Writer(64 * 1024)
  readonly #table: string
  readonly #sets: Map<string, Pick<NftSet, 'interval'>>
  readonly #about: About[] = []
  readonly #options: BatchOptions
  #setId = 0
  #last = 0

  constructor(ops: readonly NftOp[], table: BatchTable, options: BatchOptions) {
    this.#table = table.name
    this.#options = options
    this.#sets = new Map(table.sets.map(set => [set.name, set]))
    for (const op of ops) if (op.op === 'add-set') this.#sets.set(op.set.name, op.set)
  }

  run(ops: readonly NftOp[]): Batch {
    const { generation } = this.#options
    this.#raw(BATCH_BEGIN, { op: 'begin batch', object: `table ${this.#table}` }, w => {
      if (generation !== undefined) batchGeneration.encode(w, { generation })
    })
    for (const op of ops) this.#op(op)
    // The last operation is acknowledged, so that silence is never taken for success.
    const at = this.#last + 6
    this.#w.setU16(at, u16At(this.#w.bytes, at) | NLM_F.ACK)
    this.#raw(BATCH_END, { op: 'end batch', object: '' }, () => {})
    return { bytes: this.#w.result(), about: this.#about }
  }

  #nextSeq(about: About): number {
    this.#about.push(about)
    return this.#options.seq + this.#about.length - 1
  }

  #raw(type: number, about: About, body: (w: Writer) => void): void {
    putMessage(this.#w, { type, flags: NLM_F.REQUEST, seq: this.#nextSeq(about) }, w => {
      putGenHeader(w, 0, 10)
      body(w)
    })
  }

  #message(name: NftMessage, flags: number, about: About, body: (w: Writer) => void): void {
    const header = { type: nftType(name), flags: flags | NLM_F.REQUEST, seq: this.#nextSeq(about) }
    this.#last = putMessage(this.#w, header, w => {
      putGenHeader(w, NFPROTO_INET)
      body(w)
    })
  }

  #op(op: NftOp): void {
    const table = this.#table
    switch (op.op) {
      case 'add-table': {
        const flags = op.owned ? TABLE_FLAGS.OWNER | TABLE_FLAGS.PERSIST : 0
        this.#message('NEWTABLE', NLM_F.CREATE, { op: 'add', object: `table ${table}` }, w =>
          TABLE.encode(w, { name: table, flags }),
        )
        break
      }
      case 'delete-table':
        this.#message('DELTABLE', 0, { op: 'delete', object: `table ${table}` }, w => TABLE.encode(w, { name: table }))
        break
      case 'add-set':
        this.#newSet(op.set)
        this.#elements('NEWSETELEM', op.set, op.set.elements)
        break
      case 'delete-set':
        this.#message('DELSET', 0, { op: 'delete', object: `set ${op.name}` }, w =>
          SET.encode(w, { table, name: op.name }),
        )
        break
      case 'add-elements':
        this.#elements('NEWSETELEM', op.set, op.elements)
        break
      case 'delete-elements':
        this.#elements('DELSETELEM', op.set, op.elements)
        break
      case 'add-chain':
        this.#newChain(op.chain)
        this.#rules(op.chain)
        break
      case 'replace-rules':
        this.#message('DELRULE', 0, { op: 'empty', object: `chain ${op.chain.name}` }, w =>
          RULE.encode(w, { table, chain: op.chain.name }),
        )
        this.#rules(op.chain)
        break
      case 'delete-chain':
        this.#message('DELCHAIN', 0, { op: 'delete', object: `chain ${op.name}` }, w =>
          CHAIN.encode(w, { table, name: op.name }),
        )
        break
    }
  }

  #newSet(set: NftSet): void {
    const shape = shapeOf(set)
    const { key, value } = shape
    if (keyLength(key) > KEY_BYTES_MAX)
      throw new EncodeError(`set ${set.name}: a key has at most ${KEY_BYTES_MAX} bytes`)
    const concat = isPipapo(shape)
    const flags =
      (set.interval ? SET_FLAGS.INTERVAL : 0) | (value ? SET_FLAGS.MAP : 0) | (concat ? SET_FLAGS.CONCAT : 0)
    this.#message('NEWSET', NLM_F.CREATE | NLM_F.EXCL, { op: 'add', object: `set ${set.name}` }, w =>
      SET.encode(w, {
        table: this.#table,
        name: set.name,
        flags,
        keyType: keyCode(key),
        keyLength: keyLength(key),
        dataType: value && (value === 'verdict' ? VERDICT_CODE : TYPES[value].code),
        dataLength: value && (value === 'verdict' ? 16 : TYPES[value].size),
        desc: concat ? { concat: key.map(type => ({ length: TYPES[type].size })) } : undefined,
        id: ++this.#setId,
        userdata: setData({ key, value, comment: set.comment }),
      }),
    )
  }

  /** As many messages as the elements need. */
  #elements(name: 'NEWSETELEM' | 'DELSETELEM', set: NftSet, elements: readonly Element[]): void {
    const about = { op: name === 'NEWSETELEM' ? 'add elements of' : 'delete elements of', object: `set ${set.name}` }
    this.#slices(name, about, { set: set.name, shape: shapeOf(set), elements })
  }

  #slices(
    name: 'NEWSETELEM' | 'DELSETELEM',
    about: About,
    what: { set: string; shape: Shape; elements: readonly Element[]; id?: number },
  ): void {
    const { set, shape, elements, id } = what
    // An element is deleted by its key alone.
    const bare = name === 'DELSETELEM' ? { ...shape, value: undefined } : shape
    for (let next = 0; next < elements.length; ) {
      const first = next
      // Named here, so that a refusal of one slice of many says which.
      const range = {
        op: about.op,
        object: elements.length === 1 ? `${about.object}: ${JSON.stringify(elements[0]!.key)}` : about.object,
      }
      this.#message(name, name === 'NEWSETELEM' ? NLM_F.CREATE | NLM_F.EXCL : 0, range, w => {
        putAttribute(w, 1, text, this.#table)
        putAttribute(w, 2, text, set)
        if (id !== undefined) {
          const at = w.begin(4)
          w.be32(id)
          w.end(at)
        }
        const at = w.begin(3 | NESTED)
        const start = w.length
        while (next < elements.length && w.length - start < SLICE_BYTES) {
          const element = elements[next++]!
          putElement(w, bare, name === 'DELSETELEM' ? { key: element.key } : element)
        }
        w.end(at)
      })
      if (next === first) throw new Error('a slice without elements')
    }
  }

  #newChain({ name, base, comment }: NftChain): void {
    this.#message('NEWCHAIN', NLM_F.CREATE | NLM_F.EXCL, { op: 'add', object: `chain ${name}` }, w =>
      CHAIN.encode(w, {
        table: this.#table,
        name,
        hook: base && { hook: HOOKS.indexOf(base.hook), priority: base.priority >>> 0 },
        policy: base && POLICIES.indexOf(base.policy),
        type: base?.type,
        userdata: comment === undefined ? undefined : commentData(comment),
      }),
    )
  }

  #rules(chain: NftChain): void {
    chain.rules.forEach((rule, index) => {
      this.#rule(chain.name, rule, index)
    })
  }

  #rule(chain: string, rule: Rule, index: number): void {
    const find: FindSet = name => this.#sets.get(name)
    const { expressions, anonymous } = compile(rule.statements, find)
    const object = `rule ${index + 1} of chain ${chain}`
    const ids = anonymous.map(set => this.#newAnonymousSet(set, object))
    const bound = expressions.map(e => bind(e, ids))
    this.#message('NEWRULE', NLM_F.CREATE | NLM_F.APPEND, { op: 'add', object }, w =>
      RULE.encode(w, {
        table: this.#table,
        chain,
        expressions: bound,
        userdata: rule.comment === undefined ? undefined : commentData(rule.comment),
      }),
    )
  }

  /** Creates the set behind a comparison; the kernel picks its name, and it goes with the rule. */
  #newAnonymousSet({ type, interval, elements }: AnonymousSet, owner: string): number {
    const id = ++this.#setId
    const shape: Shape = { key: [type], interval }
    const about = { op: 'add', object: `anonymous set of ${owner}` }
    this.#message('NEWSET', NLM_F.CREATE, about, w =>
      SET.encode(w, {
        table: this.#table,
        name: ANONYMOUS,
        flags: SET_FLAGS.ANONYMOUS | SET_FLAGS.CONSTANT | (interval ? SET_FLAGS.INTERVAL : 0),
        keyType: TYPES[type].code,
        keyLength: TYPES[type].size,
        id,
        userdata: setData({ key: [type], merge: interval }),
      }),
    )
    this.#slices('NEWSETELEM', about, { set: ANONYMOUS, shape, elements: elements.map(part => ({ key: [part] })), id })
    return id
  }
}

/** The kernel's pattern for the names of anonymous sets. */
const ANONYMOUS = '__set%d'

/** A lookup in the n-th anonymous set of the rule, by its id in the batch. */
function bind(e: Expression, ids: readonly number[]): Expression {
  if (e.name !== 'lookup' || !e.set?.startsWith('#')) return e
  return { ...e, set: ANONYMOUS, id: ids[Number(e.set.slice(1))]! }
}
