import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { isError, parseComplaint, parseProtocols, replyText, takeReply } from './control.ts'

const PROTOCOLS = `2002-Name       Proto      Table      State  Since         Info
1002-device1    Device     ---        up     2026-11-24 07:55:18  
1006-
1002-blocks4    Static     master4    up     2026-11-24 07:55:18  
1006-  Channel ipv4
     State:          UP
     Table:          master4
     Routes:         1 imported, 0 exported, 1 preferred

1002-Global_10_0_0_1 BGP        ---        up     2026-11-24 07:55:20  Established   
1006-  Description:    tor: the "router"
   BGP state:          Established
     Neighbor address: 10.0.0.1
     Neighbor AS:      65000
     Local AS:         64512
   Channel ipv4
     State:          UP
     Routes:         3 imported, 1 exported, 2 preferred
   Channel ipv6
     State:          DOWN

1002-Node_10_0_0_7 BGP        ---        start  2026-11-24 07:55:20  Active        Socket: Connection refused
1006-  BGP state:          Active
     Neighbor address: 10.0.0.7
     Neighbor AS:      64512
     Last error:       Socket: Connection refused

0000 
`

describe('replies of BIRD', () => {
  it('are taken one by one, whole', () => {
    const taken = takeReply('0001 BIRD 2.0.12 ready.\n0002-Reading\n+0009 news\n0003 Reconfigured\nrest')
    assert.deepEqual(taken?.reply, { code: 1, lines: [{ code: 1, text: 'BIRD 2.0.12 ready.' }] })
    const next = takeReply(taken.rest)
    assert.equal(next?.rest, 'rest')
    assert.equal(replyText(next.reply), 'Reading; Reconfigured')
    assert.equal(takeReply('0002-Reading\n'), undefined)
  })

  it('tell errors by their code', () => {
    assert.ok(isError(takeReply('9001 syntax error\n')!.reply))
    assert.ok(isError(takeReply('8002-Reading\n8002 /b.conf:1:2 syntax error\n')!.reply))
    assert.ok(!isError(takeReply('0020 Configuration OK\n')!.reply))
  })

  it('may come in pieces of any size', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), sizes => {
        let received = ''
        let at = 0
        for (let i = 0; at < PROTOCOLS.length; i++) {
          assert.equal(takeReply(received), undefined)
          const size = sizes[i % sizes.length]!
          received += PROTOCOLS.slice(at, at + size)
          at += size
        }
        assert.equal(parseProtocols(takeReply(received)!.reply).length, 4)
      }),
    )
  })

  it('never break the reader, whatever they are', () => {
    const line = fc.oneof(
      fc.string(),
      fc.string().map(text => `1002-${text}`),
      fc.string().map(text => `1006-${text}`),
    )
    fc.assert(
      fc.property(fc.array(line), lines => {
        const taken = takeReply(`${lines.join('\n')}\n0000 \n`)
        assert.ok(taken)
        parseProtocols(taken.reply)
      }),
    )
  })
})

describe('protocols of BIRD', () => {
  const protocols = parseProtocols(takeReply(PROTOCOLS)!.reply)

  it('have name, kind, state and time', () => {
    assert.deepEqual(
      protocols.map(({ name, proto, state, since, info }) => [name, proto, state, since, info]),
      [
        ['device1', 'Device', 'up', '2026-11-24 07:55:18', ''],
        ['blocks4', 'Static', 'up', '2026-11-24 07:55:18', ''],
        ['Global_10_0_0_1', 'BGP', 'up', '2026-11-24 07:55:20', 'Established'],
        ['Node_10_0_0_7', 'BGP', 'start', '2026-11-24 07:55:20', 'Active        Socket: Connection refused'],
      ],
    )
  })

  it('have the peer and the routes of a session', () => {
    assert.deepEqual(protocols[2]?.bgp, { state: 'Established', address: '10.0.0.1', as: 65000 })
    assert.deepEqual(protocols[2]?.channels, [
      { name: 'ipv4', state: 'UP', imported: 3, exported: 1, preferred: 2 },
      { name: 'ipv6', state: 'DOWN', imported: 0, exported: 0, preferred: 0 },
    ])
    assert.equal(protocols[3]?.bgp?.lastError, 'Socket: Connection refused')
  })
})

describe('a complaint about the configuration', () => {
  it('names the line', () => {
    assert.deepEqual(parseComplaint('Reading; /run/b d/bird.conf.new:24:67 syntax error, unexpected CF_SYM'), {
      line: 24,
      message: 'syntax error, unexpected CF_SYM',
    })
    assert.equal(parseComplaint('no such file'), undefined)
  })
})
