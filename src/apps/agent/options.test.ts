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

test('the canary is on unless it is told otherwise, in seconds', () => {
  const seconds = (...argv: string[]) => {
    const options = parseOptions(argv, {})
    return 'text' in options ? options.text.split('\n')[0] : options.canary
  }
  assert.equal(seconds(), 50)
  assert.equal(seconds('--canary', '0'), 0)
  assert.equal(seconds('--canary', '0.5'), 0.5)
  assert.equal(seconds('--canary', 'often'), '--canary often: not a number of seconds')
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
  assert.equal(pod.nodeFolder, '/var/lib/calico')
  assert.equal(parse(['--datastore', 'kubernetes', '--run', '/run/x'], {}).nodeFolder, '/run/x/node')
  assert.equal(pod.settings.addresses[6].kind, 'detect')
  assert.equal(parse([], { DATASTORE_TYPE: 'kubernetes', KUBECONFIG: '/k' }).datastore.kind, 'kubernetes')
  const wrong = parseOptions([], { IP: 'autodetect', IP_AUTODETECTION_METHOD: 'guess' })
  assert.ok('text' in wrong && wrong.code === 2)
  assert.match(wrong.text, /IP_AUTODETECTION_METHOD=guess/)
})
