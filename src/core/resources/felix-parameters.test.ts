// Felix's parameters from an environment and its file.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { FELIX_USED } from '../explain/no-effect.ts'
import { felixParameters, PARAMETERS_ANNOTATION, parametersOf, printParameters } from './felix-parameters.ts'
import { decodeResource, type ResourceOf } from './resource.ts'

const of = (env: Readonly<Record<string, string>>, file?: string) =>
  felixParameters({ env, ...(file !== undefined && { file }) }, FELIX_USED)
const spec = (env: Readonly<Record<string, string>>, file?: string) => of(env, file).settings.spec

test('values are those of the resource, in Felix’s spelling', () => {
  const env = {
    FELIX_DEFAULTENDPOINTTOHOSTACTION: 'ACCEPT',
    Felix_DisableConntrackInvalidCheck: 'yes',
    FELIX_VXLANPort: '4790',
    FELIX_LOGPREFIX: 'x',
    FELIX_LOGACTIONRATELIMIT: '7/minute',
    FELIX_NATPORTRANGE: '1024:2000',
    FELIX_NATOUTGOINGEXCLUSIONS: 'IPPoolsAndHostIPs',
    FELIX_WORKLOADSOURCESPOOFING: 'any',
    FELIX_FAILSAFEINBOUNDHOSTPORTS: 'tcp:22, udp:10.0.0.0/8:68,443,tcp:[2001:db8::/32]:80',
    FELIX_FAILSAFEOUTBOUNDHOSTPORTS: 'none',
    FELIX_NATOUTGOINGADDRESS: 'none',
    PATH: '/bin',
  }
  assert.deepEqual(spec(env), {
    defaultEndpointToHostAction: 'Accept',
    disableConntrackInvalidCheck: true,
    vxlanPort: 4790,
    logPrefix: 'x',
    logActionRateLimit: '7/minute',
    natPortRange: '1024:2000',
    natOutgoingExclusions: 'IPPoolsAndHostIPs',
    workloadSourceSpoofing: 'Any',
    failsafeInboundHostPorts: [
      { protocol: 'TCP', port: 22 },
      { protocol: 'UDP', port: 68, net: '10.0.0.0/8' },
      { protocol: 'TCP', port: 443 },
      { protocol: 'TCP', port: 80, net: '2001:db8::/32' },
    ],
    failsafeOutboundHostPorts: [],
  })
  assert.deepEqual(spec({ FELIX_FAILSAFEINBOUNDHOSTPORTS: '' }), { failsafeInboundHostPorts: [] })
  assert.deepEqual(spec({ PATH: '/bin' }), {})
})

test('the environment goes before the file, of which the section global counts', () => {
  const file = '# of ours\n[other]\nLogPrefix = a\n[global]\nlogprefix = b\nVXLANPort: 5\nwhat\n'
  assert.deepEqual(spec({}, file), { logPrefix: 'b', vxlanPort: 5 })
  assert.deepEqual(spec({ FELIX_LOGPREFIX: 'c' }, file), { logPrefix: 'c', vxlanPort: 5 })
  assert.deepEqual(of({}, file).warnings, [
    { path: 'felix.cfg line 7', message: 'cannot be read: what', fix: 'write Name = value' },
  ])
})

test('of a bad value the default is taken, or the agent does not start, as with Felix', () => {
  const { settings, fatal, warnings } = of({
    FELIX_VXLANPORT: 'many',
    FELIX_BPFENABLED: 'true',
    FELIX_DEFAULTENDPOINTTOHOSTACTION: 'maybe',
    FELIX_FAILSAFEINBOUNDHOSTPORTS: 'tcp:22,ssh',
    FELIX_INTERFACEPREFIX: 'veth',
  })
  assert.deepEqual(settings.spec, {})
  const print = (problems: typeof fatal) => problems.map(p => `${p.path}=${p.value}: ${p.message}`)
  assert.deepEqual(print(warnings), [
    'FELIX_VXLANPORT=many: must be a number',
    'FELIX_BPFENABLED=undefined: has no effect here',
  ])
  assert.deepEqual(print(fatal), [
    'FELIX_DEFAULTENDPOINTTOHOSTACTION=maybe: must be one of Drop, Accept, Return',
    'FELIX_FAILSAFEINBOUNDHOSTPORTS=tcp:22,ssh: ssh is no port',
    'FELIX_INTERFACEPREFIX=veth: the interfaces of pods begin with cali, and no policy would guard them',
  ])
})

const nodeSaying = (text: string | undefined): ResourceOf<'Node'> => {
  const annotations = text === undefined ? {} : { [PARAMETERS_ANNOTATION]: text }
  const metadata = { name: 'a', annotations }
  const decoded = decodeResource({ apiVersion: 'projectcalico.org/v3', kind: 'Node', metadata, spec: {} })
  assert.ok(decoded.ok)
  return decoded.value as ResourceOf<'Node'>
}

test('what a Node says of them that is none is nothing', () => {
  for (const text of ['', '{', '[]', 'null', '{"defaultEndpointToHostAction":"Perhaps"}'])
    assert.deepEqual(parametersOf(nodeSaying(text)), {}, text)
  assert.deepEqual(parametersOf(undefined), {})
})

test('whatever stands there, it is a setting, a warning or a reason not to start', () => {
  const name = fc.oneof(fc.constantFrom(...FELIX_USED.map(f => `FELIX_${f.toUpperCase()}`)), fc.string())
  fc.assert(
    fc.property(fc.dictionary(name, fc.string()), fc.string(), (env, file) => {
      const { settings, fatal, warnings } = of(env, file)
      for (const { path, message } of [...fatal, ...warnings]) assert.ok(path !== '' && message !== '')
      assert.ok(Object.keys(settings.spec).every(field => (FELIX_USED as readonly string[]).includes(field)))
      const text = printParameters(settings)
      assert.deepEqual(parametersOf(nodeSaying(text)), settings.spec)
    }),
  )
})
