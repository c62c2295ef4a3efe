// Numbers and attribute tables of nftables' own messages (linux/netfilter/nf_tables.h): tables, chains, sets, rules.
// The tables are strict where reading must be complete, and name what the kernel adds for its own account.
import { attributes, be32, be64, bytes, list, text } from '../netlink/attributes.ts'
import { expressionList } from './expressions.ts'

const SUBSYSTEM = 10 << 8
export const NFT_MSG = {
  NEWTABLE: 0,
  GETTABLE: 1,
  DELTABLE: 2,
  NEWCHAIN: 3,
  GETCHAIN: 4,
  DELCHAIN: 5,
  NEWRULE: 6,
  GETRULE: 7,
  DELRULE: 8,
  NEWSET: 9,
  GETSET: 10,
  DELSET: 11,
  NEWSETELEM: 12,
  GETSETELEM: 13,
  DELSETELEM: 14,
  NEWGEN: 15,
  GETGEN: 16,
} as const
export type NftMessage = keyof typeof NFT_MSG
export const nftType = (name: NftMessage): number => SUBSYSTEM | NFT_MSG[name]

export const BATCH_BEGIN = 0x10
export const BATCH_END = 0x11
export const NFPROTO_INET = 1
/** The multicast group that tells of every change (nfnetlink.h). */
export const NFNLGRP_NFTABLES = 7

export const SET_FLAGS = {
  ANONYMOUS: 1,
  CONSTANT: 2,
  INTERVAL: 4,
  MAP: 8,
  TIMEOUT: 0x10,
  EVAL: 0x20,
  OBJECT: 0x40,
  CONCAT: 0x80,
} as const
export const TABLE_FLAGS = { DORMANT: 1, OWNER: 2, PERSIST: 4 } as const
export const HOOKS = ['prerouting', 'input', 'forward', 'output', 'postrouting'] as const
export const POLICIES = ['drop', 'accept'] as const

/** The beginning or end of a batch; with a generation, the batch fails (ERESTART) if the ruleset has another one. */
export const batchGeneration = attributes({ generation: [1, be32] })

export const TABLE = attributes(
  {
    name: [1, text],
    flags: [2, be32],
    use: [3, be32],
    handle: [4, be64],
    pad: [5, bytes],
    userdata: [6, bytes],
    owner: [7, be32],
  },
  true,
)
const HOOK = attributes({ hook: [1, be32], priority: [2, be32] }, true)
export const CHAIN = attributes(
  {
    table: [1, text],
    handle: [2, be64],
    name: [3, text],
    hook: [4, HOOK],
    policy: [5, be32],
    use: [6, be32],
    type: [7, text],
    pad: [9, bytes],
    flags: [10, be32],
    userdata: [12, bytes],
  },
  true,
)
/** One part of a concatenation: its length. */
const FIELD = attributes({ length: [1, be32] }, true)
const DESC = attributes({ size: [1, be32], concat: [2, list(1, FIELD)] }, true)
export const SET = attributes(
  {
    table: [1, text],
    name: [2, text],
    flags: [3, be32],
    keyType: [4, be32],
    keyLength: [5, be32],
    dataType: [6, be32],
    dataLength: [7, be32],
    policy: [8, be32],
    desc: [9, DESC],
    id: [10, be32],
    userdata: [13, bytes],
    pad: [14, bytes],
    handle: [16, be64],
    kernelType: [19, text],
    count: [20, be32],
  },
  true,
)
export const RULE = attributes(
  {
    table: [1, text],
    chain: [2, text],
    handle: [3, be64],
    expressions: [4, expressionList],
    position: [6, be64],
    userdata: [7, bytes],
    pad: [8, bytes],
  },
  true,
)
export const GENERATION = attributes({ id: [1, be32], pid: [2, be32], name: [3, text] })
