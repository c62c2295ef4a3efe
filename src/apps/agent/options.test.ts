import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DEFAULT_CNI_SOCKET, DEFAULT_RUN, parseOptions } from './options.ts'

test('the CNI plugin’s default path is linked by an agent with the default run folder, and by no other unless asked', () => {
  const rows: readonly (readonly [argv: string[], cniSocket: string | undefined])[] = [
    [[], DEFAULT_CNI_SOCKET],
    [['--run', DEFAULT_RUN], DEFAULT_CNI_SOCKET],
    [['--run', '/run/other'], undefined],
    [['--run', '/run/other', '--cni-socket', '/run/x.sock'], '/run/x.sock'],
    [['--cni-socket', '/run/x.sock'], '/run/x.sock'],
    [['--no-cni-socket'], undefined],
    [['--no-cni-socket', '--cni-socket', '/run/x.sock'], undefined],
  ]
  for (const [argv, expected] of rows) {
    const options = parseOptions(argv)
    assert.ok(!('text' in options), JSON.stringify(options))
    assert.equal(options.cniSocket, expected, argv.join(' '))
  }
})

test('help and mistakes are a text and a code', () => {
  const help = parseOptions(['--help'])
  assert.ok('text' in help && help.code === 0)
  assert.match(help.text, /--cni-socket PATH/)
  const wrong = parseOptions(['--cni-sockets', 'x'])
  assert.ok('text' in wrong && wrong.code === 2)
})

test('the environment says what Calico’s says: the node, the datastore, addresses and pools', () => {
  const parse = (argv: string[], env: Record<string, string>) => {
    const options = parseOptions(argv, env)
    assert.ok(!('text' in options), JSON.stringify(options))
    return options
  }
  const alone = parse([], {})
  assert.deepEqual(alone.datastore, { kind: 'embedded', socket: '/run/gingham/datastore.sock' })
  assert.deepEqual(alone.settings.addresses, { 4: { kind: 'keep' }, 6: { kind: 'keep' } })
  assert.equal(alone.nodeFolder, undefined)
  const pod = parse(['--datastore', 'kubernetes'], { NODENAME: 'Node-1', IP6: 'autodetect' })
  assert.deepEqual(pod.datastore, { kind: 'kubernetes' })
  assert.equal(pod.node, 'Node-1')
  assert.equal(pod.settings.addresses[6].kind, 'detect')
  assert.equal(parse([], { DATASTORE_TYPE: 'kubernetes', KUBECONFIG: '/k' }).datastore.kind, 'kubernetes')
  const wrong = parseOptions([], { IP: 'autodetect', IP_AUTODETECTION_METHOD: 'guess' })
  assert.ok('text' in wrong && wrong.code === 2)
  assert.match(wrong.text, /IP_AUTODETECTION_METHOD=guess/)
})
