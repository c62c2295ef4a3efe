import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { addr } from '../net/addr.ts'
import { prefix } from '../net/prefix.ts'
import { BIRD_DEFAULTS, type BirdConfig, type BirdPeer } from './config.ts'
import { isQuotable, quotePattern, quoteText } from './quote.ts'
import { protocolName, renderBird } from './render.ts'

const peer: BirdPeer = {
  kind: 'global',
  name: 'tor',
  address: addr('10.0.0.1'),
  as: 65000,
  restartTime: 120,
  passive: false,
  nextHop: 'auto',
}
const config: BirdConfig = {
  ...BIRD_DEFAULTS,
  routerId: addr('10.0.0.2'),
  peers: [peer],
  blocks: [prefix('10.1.0.0/26'), prefix('fd00::/122')],
}

const section = (text: string, head: string): string => {
  const start = text.indexOf(`${head} {`)
  assert.ok(start >= 0, `${head} in\n${text}`)
  return text.slice(start, text.indexOf('\n}', start) + 2)
}

describe('the text of a BIRD configuration', () => {
  it('has the sessions of the peers', () => {
    assert.equal(
      section(renderBird(config), 'protocol bgp Global_10_0_0_1'),
      `protocol bgp Global_10_0_0_1 {
  description "tor";
  local as 64512;
  neighbor 10.0.0.1 as 65000;
  multihop;
  connect delay time 2;
  connect retry time 5;
  error wait time 5, 30;
  graceful restart on;
  graceful restart time 120;
  ipv4 { import all; export filter to_peers4; add paths on; };
}`,
    )
  })

  it('has every setting of a peer', () => {
    const full: BirdPeer = {
      ...peer,
      kind: 'node',
      address: addr('fd00::1'),
      port: 1790,
      localAs: 64999,
      source: addr('fd00::2'),
      password: "it's (fine);",
      allowLocalAs: 2,
      holdTime: 90,
      keepaliveTime: 30,
      passive: true,
      nextHop: 'self',
      ttlSecurity: 2,
      reflectAs: addr('224.0.0.1'),
      reachableBy: addr('fd00::3'),
    }
    const text = renderBird({ ...config, listenPort: 1179, strictBind: true, peers: [full] })
    const lines = section(text, 'protocol bgp Node_fd00__1_port_1790').split('\n')
    for (const line of [
      '  local fd00::2 port 1179 as 64999;',
      '  neighbor fd00::1 port 1790 as 65000;',
      '  multihop 2;',
      '  ttl security on;',
      '  strict bind on;',
      '  passive on;',
      `  password "it's (fine);";`,
      '  allow local as 2;',
      '  hold time 90;',
      '  keepalive time 30;',
      '  rr client;',
      '  rr cluster id 224.0.0.1;',
      '  ipv6 { import all; export filter to_peers6; add paths on; next hop self; };',
    ]) {
      assert.ok(lines.includes(line), `${line} in\n${lines.join('\n')}`)
    }
    assert.ok(section(text, 'protocol static reach6').includes('  route fd00::1/128 via fd00::3;'))
  })

  it('tells own blocks and borrowed addresses, nothing inside the blocks, nothing of pools that are not exported', () => {
    const text = renderBird({
      ...config,
      borrowed: [prefix('10.9.0.3/32')],
      pools: [prefix('10.0.0.0/8')],
      notExported: [prefix('10.8.0.0/16')],
    })
    assert.equal(
      section(text, 'filter to_peers4'),
      `filter to_peers4 {
  if net ~ [ 10.8.0.0/16+ ] then reject;
  if source = RTS_STATIC && net ~ [ 10.1.0.0/26 ] then accept;
  if source = RTS_INHERIT && net ~ [ 10.9.0.3/32 ] then accept;
  if net ~ [ 10.1.0.0/26{27,32} ] then reject;
  if source = RTS_BGP && net ~ [ 10.0.0.0/8+ ] then accept;
  reject;
}`,
    )
    assert.ok(section(text, 'protocol static blocks6').includes('  route fd00::/122 blackhole;'))
  })

  it('keeps BIRD away from pools whose routes are the agent’s', () => {
    const text = renderBird({ ...config, notProgrammed: [prefix('10.7.0.0/16')] })
    assert.ok(section(text, 'filter to_kernel4').includes('  if net ~ [ 10.7.0.0/16+ ] then reject;'))
  })

  it('does not depend on the order of lists', () => {
    const other: BirdPeer = { ...peer, address: addr('10.0.0.9') }
    const blocks = [prefix('10.1.0.0/26'), prefix('10.1.0.64/26')]
    const one = renderBird({ ...config, blocks, peers: [peer, other] })
    assert.equal(renderBird({ ...config, blocks: blocks.toReversed(), peers: [other, peer] }), one)
  })

  it('refuses a password that would break out', () => {
    for (const password of ['a"; }', 'a\nb', 'a\\']) {
      assert.throws(() => renderBird({ ...config, peers: [{ ...peer, password }] }), /cannot be written/)
    }
  })
})

describe('users’ text in a BIRD configuration', () => {
  it('never ends its string, whatever it is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), text => {
        for (const quoted of [quoteText(text), quotePattern(text)])
          assert.match(quoted, /^"[\x20\x21\x23-\x5b\x5d-\x7e]*"$/)
        assert.equal(isQuotable(text), quotePattern(text) === `"${text}"`)
      }),
    )
  })

  it('adds no line to a session', () => {
    const lines = renderBird(config).split('\n').length
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), name => {
        const text = renderBird({ ...config, peers: [{ ...peer, name }], ignoredInterfaces: [name] })
        assert.equal(text.split('\n').length, lines)
        assert.equal([...text.matchAll(/"/g)].length % 2, 0)
      }),
    )
  })

  it('is never the name of a session: these are made of addresses', () => {
    assert.equal(protocolName({ kind: 'mesh', address: addr('10.0.0.1') }), 'Mesh_10_0_0_1')
    assert.equal(protocolName({ kind: 'global', address: addr('fd00::1'), port: 1790 }), 'Global_fd00__1_port_1790')
    assert.ok(
      protocolName({ kind: 'global', address: addr('fd00:1111:2222:3333:4444:5555:6666:7777'), port: 65535 }).length <=
        64,
    )
  })
})
