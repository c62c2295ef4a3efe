import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decide } from './decide.ts'
import { explainDecision } from './explain-decision.ts'
import { np, packet, v3, world } from './world.fixture.ts'

test('an explanation gives the answer, the reason, the near miss, and the way there', () => {
  const into = np('default/into', {
    selector: "role == 'backend'",
    types: ['Ingress'],
    ingress: [
      { action: 'Allow', protocol: 'TCP', source: { selector: "role == 'admin'" }, destination: { ports: [22] } },
      {
        action: 'Allow',
        protocol: 'TCP',
        source: { selector: "role == 'client'" },
        destination: { ports: ['http', 80] },
      },
    ],
  })
  const other = np('default/other', { selector: 'all()', types: ['Egress'], egress: [{ action: 'Allow' }] })
  assert.deepEqual(explainDecision(decide(world(into, other), packet('client backend tcp/81'))), [
    'DENIED default/client -> default/backend tcp/81 (10.0.0.3 -> 10.0.0.2)',
    '',
    'ingress of default/backend: DENIED at the end of tier default: its policies select this pod and no rule allows this',
    "  near miss  NetworkPolicy default/into ingress[1]: Allow protocol: TCP, source.selector: role == 'client', destination.ports: [http, 80]",
    '             but destination port 81 is not in http, 80 (http is 8080/TCP)',
    '  allowed if the destination port were http or 80',
    '  in order',
    '    tier default (order 1000000)',
    '      NetworkPolicy default/into',
    "        ingress[0] Allow protocol: TCP, source.selector: role == 'admin', destination.ports: [22]: no: source does not match role == 'admin' (labels role=client) (and 1 more)",
    "        ingress[1] Allow protocol: TCP, source.selector: role == 'client', destination.ports: [http, 80]: no: destination port 81 is not in http, 80 (http is 8080/TCP)",
    '      NetworkPolicy default/other selects this pod, but its types leave out ingress',
    '      end of tier default: default action Deny',
    '',
    'egress of default/client: allowed by NetworkPolicy default/other egress[0] Allow',
    '  rule       Allow everything',
    '  in order',
    '    tier default (order 1000000)',
    '      NetworkPolicy default/other',
    '        egress[0] Allow everything: MATCHES',
  ])
  assert.deepEqual(explainDecision(decide(world(), packet('outside other udp/53'))), [
    'ALLOWED 192.0.2.9 -> 198.51.100.7 udp/53',
    '',
    'neither address belongs to a workload: no policy is asked',
  ])
})

test('words for what did not match', () => {
  const policy = np('default/p', {
    selector: "role == 'backend'",
    types: ['Ingress'],
    ingress: [{ action: 'Allow', source: { selector: "role == 'backend'" } }],
  })
  const first = (text: string): string => {
    const steps = decide(world(policy), packet(text)).ingress!.trail
    return steps.flatMap(step => (step.kind === 'rule' ? step.failures.map(f => f.text) : [])).join('; ')
  }
  assert.equal(first('client backend tcp/80'), "source does not match role == 'backend' (labels role=client)")
  assert.equal(first('prodbackend backend tcp/80'), 'source does not match namespace default (it is in namespace prod)')
  assert.equal(
    first('outside backend tcp/80'),
    "source does not match namespace default and role == 'backend' (192.0.2.9 belongs to no workload or network set)",
  )
})

test('a profile that is missing, and none at all', () => {
  const wep = (profiles: string[]) =>
    v3('WorkloadEndpoint', 'default/node--a-cni-x-eth0', {
      node: 'node-a',
      orchestrator: 'cni',
      containerID: 'x',
      endpoint: 'eth0',
      interfaceName: 'cali1',
      ipNetworks: ['10.0.9.9/32'],
      profiles,
    })
  const answer = (profiles: string[]): string | undefined =>
    explainDecision(decide(world(wep(profiles)), packet('outside 10.0.9.9 tcp/80')))[2]
  assert.equal(
    answer(['gone']),
    'ingress of default/node--a-cni-x-eth0: DENIED: Profile gone does not exist, and until it does it denies everything',
  )
  assert.equal(
    answer([]),
    'ingress of default/node--a-cni-x-eth0: DENIED: no policy decides and no profile allows this',
  )
})
