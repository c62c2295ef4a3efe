// The expressions that the kernel runs, one table of attributes each (linux/netfilter/nf_tables.h). Decoding is strict:
// an attribute that the table lacks means that the rule is not understood. What is written here is what the kernel gives
// back in a dump, its defaults included, so that two rules are compared by comparing these bytes.
import {
  attributes,
  be16,
  be32,
  be64,
  bytes,
  type Codec,
  eachAttribute,
  list,
  putAttribute,
  text,
  u8,
  type Values,
} from '../netlink/attributes.ts'
import { DecodeError } from '../netlink/bytes.ts'

/**
 * A register: 0 is the verdict, 8 to 23 the sixteen words of four bytes. The kernel writes the first of each four as 1 to 4.
 */
const register: Codec<number> = {
  encode: (w, n) => w.be32(n >= 8 && n % 4 === 0 ? n / 4 - 1 : n),
  decode: r => {
    const n = r.be32()
    return n >= 1 && n <= 4 ? (n + 1) * 4 : n
  },
}

const verdict = attributes({ code: [1, be32], chain: [2, text] }, true)
const data = attributes({ value: [1, bytes], verdict: [2, verdict] }, true)
export type Data = Values<{ value: readonly [1, typeof bytes]; verdict: readonly [2, typeof verdict] }>
export const dataCodec = data

export const EXPRESSIONS = {
  meta: attributes({ dreg: [1, register], key: [2, be32], sreg: [3, register] }, true),
  payload: attributes({ dreg: [1, register], base: [2, be32], offset: [3, be32], length: [4, be32] }, true),
  ct: attributes({ dreg: [1, register], key: [2, be32] }, true),
  fib: attributes({ dreg: [1, register], result: [2, be32], flags: [3, be32] }, true),
  cmp: attributes({ sreg: [1, register], op: [2, be32], data: [3, data] }, true),
  range: attributes({ sreg: [1, register], op: [2, be32], from: [3, data], to: [4, data] }, true),
  bitwise: attributes(
    { sreg: [1, register], dreg: [2, register], length: [3, be32], mask: [4, data], xor: [5, data], op: [6, be32] },
    true,
  ),
  byteorder: attributes(
    { sreg: [1, register], dreg: [2, register], op: [3, be32], length: [4, be32], size: [5, be32] },
    true,
  ),
  /** `id` stands for a set that is created in the same batch; the kernel does not give it back. */
  lookup: attributes(
    { set: [1, text], sreg: [2, register], dreg: [3, register], id: [4, be32], flags: [5, be32] },
    true,
  ),
  immediate: attributes({ dreg: [1, register], data: [2, data] }, true),
  /** The kernel pads with attribute 3. */
  counter: attributes({ bytes: [1, be64], packets: [2, be64], pad: [3, bytes] }, true),
  limit: attributes(
    { rate: [1, be64], unit: [2, be64], burst: [3, be32], type: [4, be32], flags: [5, be32], pad: [6, bytes] },
    true,
  ),
  log: attributes({ group: [1, be16], prefix: [2, text], level: [5, be32] }, true),
  masq: attributes({ flags: [1, be32], protoMin: [2, register], protoMax: [3, register] }, true),
  nat: attributes(
    {
      type: [1, be32],
      family: [2, be32],
      addrMin: [3, register],
      addrMax: [4, register],
      protoMin: [5, register],
      protoMax: [6, register],
      flags: [7, be32],
    },
    true,
  ),
  notrack: attributes({}, true),
  reject: attributes({ type: [1, be32], code: [2, u8] }, true),
} as const

type Table = typeof EXPRESSIONS
export type ExpressionName = keyof Table
type ValuesOf<C> = C extends Codec<infer V> ? V : never
/** One expression, such as `{ name: 'cmp', sreg: 8, op: 0, data: { value } }`. */
export type Expression = { [N in ExpressionName]: { readonly name: N } & ValuesOf<Table[N]> }[ExpressionName]

const isKnown = (name: string): name is ExpressionName => Object.hasOwn(EXPRESSIONS, name)

/** An expression as name and data; `notrack` has no data at all. */
const expression: Codec<Expression> = {
  nested: true,
  encode: (w, value) => {
    const { name, ...values } = value
    putAttribute(w, 1, text, name)
    if (name !== 'notrack') putAttribute(w, 2, EXPRESSIONS[name] as Codec<object>, values)
  },
  decode: r => {
    const at = r.at
    let name = ''
    let values: object = {}
    for (const { type, payload } of eachAttribute(r)) {
      if (type === 1) name = text.decode(payload)
      else if (type !== 2) throw new DecodeError(`unknown attribute ${type} of an expression`, payload.at)
      else if (!isKnown(name)) throw new DecodeError(`unknown expression ${name}`, at)
      else values = EXPRESSIONS[name].decode(payload)
    }
    if (!isKnown(name)) throw new DecodeError(`unknown expression ${name}`, at)
    return { name, ...values } as Expression
  },
}

/** The contents of NFTA_RULE_EXPRESSIONS. */
export const expressionList = list(1, expression)
