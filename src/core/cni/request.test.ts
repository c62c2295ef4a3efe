import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { parseArgs } from './args.ts'
import { decodeConfig } from './config.ts'
import { CNI_ERROR, printError } from './error.ts'
import { containerOf, handleOf } from './handle.ts'
import { type CniRequest, decodeRequest } from './request.ts'
import { CNI_VERSIONS, printVersions } from './version.ts'

const CONFIG = { cniVersion: '1.0.0', name: 'net', type: 'calico' }
const HEADERS = {
  'cni-command': 'ADD',
  'cni-containerid': 'c1',
  'cni-netns': '/run/netns/x',
  'cni-ifname': 'eth0',
  'cni-args': 'IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=c1;Other=%20x',
}

const decode = (headers: object = {}, config: object = {}) =>
  decodeRequest({ ...HEADERS, ...headers } as typeof HEADERS, JSON.stringify({ ...CONFIG, ...config }))

function accepted(...given: Parameters<typeof decode>): CniRequest {
  const decoded = decode(...given)
  assert.ok(decoded.ok, decoded.ok ? '' : decoded.error.message)
  return decoded.value
}

describe('a CNI request', () => {
  it('becomes a value', () => {
    const request = accepted()
    assert.ok(request.command === 'ADD')
    assert.deepEqual(request.attachment, {
      containerId: 'c1',
      ifName: 'eth0',
      netns: '/run/netns/x',
      args: { pod: { namespace: 'default', name: 'web-0' }, infraContainerId: 'c1' },
    })
    assert.equal(request.version, '1.0.0')
    assert.equal(request.prevResult, undefined)
  })

  for (const [what, headers, config, code, said] of [
    ['no command', { 'cni-command': undefined }, {}, CNI_ERROR.INVALID_ENVIRONMENT, /CNI_COMMAND is not set/],
    ['an unknown command', { 'cni-command': 'MOVE' }, {}, CNI_ERROR.INVALID_ENVIRONMENT, /unknown CNI_COMMAND: MOVE/],
    ['no container', { 'cni-containerid': '' }, {}, CNI_ERROR.INVALID_ENVIRONMENT, /CNI_CONTAINERID is not set/],
    ['a bad container', { 'cni-containerid': '../x' }, {}, CNI_ERROR.INVALID_ENVIRONMENT, /"..\/x" is not valid/],
    ['no namespace for ADD', { 'cni-netns': undefined }, {}, CNI_ERROR.INVALID_ENVIRONMENT, /CNI_NETNS is not set/],
    ['a long interface', { 'cni-ifname': 'a'.repeat(16) }, {}, CNI_ERROR.INVALID_ENVIRONMENT, /CNI_IFNAME/],
    ['an interface ..', { 'cni-ifname': '..' }, {}, CNI_ERROR.INVALID_ENVIRONMENT, /CNI_IFNAME/],
    ['no UTF-8', { 'cni-args': '%FF' }, {}, CNI_ERROR.INVALID_ENVIRONMENT, /CNI_ARGS is not a text in UTF-8/],
    ['bad arguments', { 'cni-args': 'x' }, {}, CNI_ERROR.INVALID_ENVIRONMENT, /CNI_ARGS has "x"/],
    ['a later version', {}, { cniVersion: '2.0.0' }, CNI_ERROR.INCOMPATIBLE_VERSION, /incompatible CNI versions/],
    ['CHECK before 0.4.0', { 'cni-command': 'CHECK' }, { cniVersion: '0.3.1' }, 1, /CHECK needs cniVersion 0.4.0/],
    ['GC before 1.1.0', { 'cni-command': 'GC' }, {}, 1, /GC needs cniVersion 1.1.0/],
    ['GC without a list', { 'cni-command': 'GC' }, { cniVersion: '1.1.0' }, 7, /cni.dev\/valid-attachments/],
    ['no name', {}, { name: undefined }, CNI_ERROR.INVALID_CONFIG, /name is required/],
    ['a bad name', {}, { name: 'a/b' }, CNI_ERROR.INVALID_CONFIG, /name is not a network name/],
    ['another IPAM', {}, { ipam: { type: 'dhcp' } }, 7, /ipam.type must be one of calico-ipam, host-local/],
    ['a bad gate', {}, { readiness_gates: ['localhost:1'] }, 7, /readiness_gates\[0\] is not an http or https URL/],
    ['a bad route', {}, { ipam: { type: 'host-local', routes: [{ dst: 'x' }] } }, 7, /ipam.routes\[0\].dst is neither/],
    ['a bad MTU', {}, { mtu: '1400' }, CNI_ERROR.INVALID_CONFIG, /mtu must be/],
    [
      'a pool of the other family',
      {},
      { ipam: { ipv4_pools: ['fd00::/64'] } },
      7,
      /ipam.ipv4_pools\[0\] is not an IPv4 pool/,
    ],
    ['netkit', {}, { device_type: 'netkit' }, CNI_ERROR.INVALID_CONFIG, /device_type must be one of/],
    [
      'a bad prevResult',
      {},
      { prevResult: { ips: [{ address: 'x' }] } },
      CNI_ERROR.DECODE,
      /prevResult is not valid: ips\[0\]/,
    ],
    ['a lost index', {}, { prevResult: { ips: [{ address: '10.0.0.1/8', interface: 1 }] } }, 6, /not the index/],
  ] as const) {
    it(`is refused for ${what}`, () => {
      const decoded = decode(headers, config)
      assert.ok(!decoded.ok)
      assert.equal(decoded.error.code, code)
      assert.match(decoded.error.message, said)
      const printed = JSON.parse(printError(decoded.error, decoded.version))
      assert.deepEqual([printed.code, printed.msg], [code, decoded.error.message])
      assert.ok(CNI_VERSIONS.includes(printed.cniVersion))
    })
  }

  it('is refused for a body that is not JSON, or no object', () => {
    for (const body of ['', '{', '[]', 'null', '3']) {
      const decoded = decodeRequest(HEADERS, body)
      assert.ok(!decoded.ok && decoded.error.code === CNI_ERROR.DECODE, body)
    }
  })

  it('is of the first version without one, and then has no interfaces to look at', () => {
    const request = accepted(
      {},
      { cniVersion: undefined, prevResult: { ip4: { ip: '10.0.0.7/24', gateway: '10.0.0.1' } } },
    )
    assert.ok(request.command === 'ADD')
    assert.equal(request.version, '0.1.0')
    assert.deepEqual(request.prevResult?.ips, [{ address: '10.0.0.7/24', gateway: '10.0.0.1' }])
  })

  it('DEL goes without a namespace, and past a prevResult that cannot be read', () => {
    const request = accepted({ 'cni-command': 'DEL', 'cni-netns': undefined }, { prevResult: 7 })
    assert.ok(request.command === 'DEL')
    assert.equal(request.attachment.netns, undefined)
  })

  it('VERSION is answered whatever comes with it', () => {
    for (const body of ['', 'x', '{"cniVersion":"9.9.9"}', '{"cniVersion":"0.4.0"}']) {
      const decoded = decodeRequest({ 'cni-command': 'VERSION' }, body)
      assert.ok(decoded.ok && decoded.value.command === 'VERSION')
      assert.equal(decoded.value.version, body.includes('0.4.0') ? '0.4.0' : '1.1.0')
    }
    assert.deepEqual(JSON.parse(printVersions('1.0.0')), { cniVersion: '1.0.0', supportedVersions: [...CNI_VERSIONS] })
  })

  it('never throws, and every failure is one that CNI knows', () => {
    const value = fc.oneof(
      fc.string(),
      fc.constantFrom('ADD', 'DEL', 'CHECK', 'GC', 'c1', 'eth0', '%', '%41', 'A=b;IP=1.2.3.4'),
    )
    const key = fc.constantFrom('cni-command', 'cni-containerid', 'cni-netns', 'cni-ifname', 'cni-args')
    const body = fc.oneof(
      fc.string(),
      fc.json(),
      fc
        .record(
          { name: fc.jsonValue(), ipam: fc.jsonValue(), prevResult: fc.jsonValue(), mtu: fc.jsonValue() },
          { requiredKeys: [] },
        )
        .map(config => JSON.stringify({ ...CONFIG, ...config })),
    )
    fc.assert(
      fc.property(fc.dictionary(key, value), fc.boolean(), body, (headers, whole, text) => {
        const decoded = decodeRequest(whole ? { ...HEADERS, ...headers } : headers, text)
        if (decoded.ok) return
        assert.ok([1, 4, 6, 7].includes(decoded.error.code))
        assert.notEqual(decoded.error.message, '')
      }),
      { numRuns: 2000 },
    )
  })
})

describe('CNI_ARGS', () => {
  it('are read as libcni reads them', () => {
    const read = (text: string) => {
      const parsed = parseArgs(text)
      return parsed.ok ? parsed.value : parsed.problems.map(({ path, message }) => `${path} ${message}`)
    }
    assert.deepEqual(read(''), {})
    assert.deepEqual(read('IP=fd00::0:1;'), { ip: 'fd00::1' })
    assert.deepEqual(read('A=1'), ['CNI_ARGS A is not known, and IgnoreUnknown is not set'])
    assert.deepEqual(read('IgnoreUnknown=true;A=1;K8S_POD_UID=u'), { podUid: 'u' })
    assert.deepEqual(read('K8S_POD_NAME=a'), ['CNI_ARGS K8S_POD_NAMESPACE is required beside the other one'])
    assert.deepEqual(read('K8S_POD_NAMESPACE=n;K8S_POD_NAME=a/b'), ['CNI_ARGS K8S_POD_NAME is not a name'])
    assert.deepEqual(read('IP=10'), ['CNI_ARGS IP is not an IP address'])
    assert.deepEqual(read('=x'), ['CNI_ARGS has "=x", which is not KEY=value'])
  })

  it('give back what was put in', () => {
    const name = fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?$/)
    fc.assert(
      fc.property(
        name,
        name,
        fc.dictionary(fc.stringMatching(/^X[A-Z]{1,8}$/), fc.stringMatching(/^[^;]*$/)),
        (ns, pod, more) => {
          const pairs = { IgnoreUnknown: '1', ...more, K8S_POD_NAMESPACE: ns, K8S_POD_NAME: pod }
          const parsed = parseArgs(
            Object.entries(pairs)
              .map(([key, value]) => `${key}=${value}`)
              .join(';'),
          )
          assert.deepEqual(parsed, { ok: true, value: { pod: { namespace: ns, name: pod } } })
        },
      ),
    )
  })
})

describe('a network configuration', () => {
  it("has Calico's defaults", () => {
    const decoded = decodeConfig({ name: 'net', type: 'calico', unknown: { deep: 1 } })
    assert.ok(decoded.ok)
    const { families, pools, mtu, node, allowForwarding, policyTimeoutSeconds } = decoded.value
    assert.deepEqual(
      { families, pools, mtu, node, allowForwarding, policyTimeoutSeconds },
      {
        families: [4],
        pools: { 4: [], 6: [] },
        mtu: undefined,
        node: undefined,
        allowForwarding: false,
        policyTimeoutSeconds: 0,
      },
    )
  })

  it("takes every key that Calico's installer writes", () => {
    const decoded = decodeConfig({
      type: 'calico',
      name: 'k8s-pod-network',
      log_level: 'info',
      log_file_path: '/var/log/calico/cni/cni.log',
      datastore_type: 'kubernetes',
      nodename: 'node-a',
      mtu: 0,
      ipam: { type: 'calico-ipam', assign_ipv4: 'false', assign_ipv6: 'true', ipv6_pools: ['fd00::/64', 'six'] },
      policy: { type: 'k8s' },
      kubernetes: { kubeconfig: '/etc/cni/net.d/calico-kubeconfig' },
      container_settings: { allow_ip_forwarding: true },
      policy_setup_timeout_seconds: 5,
    })
    assert.ok(decoded.ok)
    assert.deepEqual(decoded.value.families, [6])
    assert.deepEqual(decoded.value.pools[6], ['fd00::/64', 'six'])
    assert.equal(decoded.value.node, 'node-a')
    assert.equal(decoded.value.allowForwarding, true)
    assert.equal(decoded.value.policyTimeoutSeconds, 5)
  })
})

it('a handle gives its container back, but not one of a network with a longer name', () => {
  assert.equal(handleOf('net', 'abc'), 'net.abc')
  assert.equal(containerOf('net', 'net.abc'), 'abc')
  for (const other of ['net', 'net.', 'network.abc', 'net.work.abc', 'ipip-tunnel-addr-node-a']) {
    assert.equal(containerOf('net', other), undefined, other)
  }
})
