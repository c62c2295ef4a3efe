import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { readCredentials } from '../kubernetes/credentials.ts'
import { readSettings, type Settings, SettingsError } from './settings.ts'

const folder = mkdtempSync(join(tmpdir(), 'gingham-settings-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const KUBECONFIG = join(folder, 'kubeconfig')
writeFileSync(KUBECONFIG, '{}')

let count = 0
function file(spec: object, head: object = { kind: 'CalicoAPIConfig', apiVersion: 'projectcalico.org/v3' }): string {
  const path = join(folder, `config-${++count}`)
  writeFileSync(path, JSON.stringify({ ...head, spec }))
  return path
}

const kubernetes = (source: object): Settings => ({ type: 'kubernetes', source }) as Settings

test('the environment chooses the datastore', () => {
  const of = (env: Record<string, string>) => readSettings({ env: { HOME: folder, ...env } })
  assert.deepEqual(of({}), { type: 'embedded' })
  assert.deepEqual(of({ KUBECONFIG }), kubernetes({ kubeconfig: KUBECONFIG, context: undefined }))
  assert.deepEqual(
    of({ KUBECONFIG: `/nowhere:${KUBECONFIG}`, K8S_CURRENT_CONTEXT: 'x' }),
    kubernetes({ kubeconfig: KUBECONFIG, context: 'x' }),
  )
  assert.deepEqual(of({ KUBECONFIG, GINGHAM_DATASTORE: '/s' }), { type: 'embedded' })
  assert.deepEqual(of({ KUBECONFIG, DATASTORE_TYPE: 'embedded' }), { type: 'embedded' })
  assert.deepEqual(
    of({ DATASTORE_TYPE: 'kubernetes', KUBERNETES_SERVICE_HOST: '10.96.0.1' }),
    kubernetes({ inCluster: true }),
  )
  assert.deepEqual(
    of({ CALICO_DATASTORE_TYPE: 'kubernetes', KUBECONFIG }),
    kubernetes({ kubeconfig: KUBECONFIG, context: undefined }),
  )
  assert.throws(() => of({ KUBECONFIG: '/nowhere' }), /there is no kubeconfig \/nowhere/)
  assert.throws(() => of({ DATASTORE_TYPE: 'kubernetes' }), /no way to a Kubernetes API server/)
  assert.throws(() => of({ DATASTORE_TYPE: 'etcdv3' }), SettingsError)
  assert.throws(() => of({ DATASTORE_TYPE: 'zookeeper' }), /unknown datastore type zookeeper/)
})

test('a config file speaks alone, and --context goes before what it says', () => {
  const env = { KUBECONFIG, DATASTORE_TYPE: 'embedded' }
  const named = file({
    datastoreType: 'kubernetes',
    kubeconfig: KUBECONFIG,
    k8sCurrentContext: 'a',
    etcdEndpoints: 'x',
  })
  assert.deepEqual(readSettings({ env, file: named }), kubernetes({ kubeconfig: KUBECONFIG, context: 'a' }))
  assert.deepEqual(
    readSettings({ env, file: named, context: 'b' }),
    kubernetes({ kubeconfig: KUBECONFIG, context: 'b' }),
  )
  const inline = file({ datastoreType: 'kubernetes', kubeconfigInline: '{}' })
  assert.deepEqual(readSettings({ env, file: inline }), kubernetes({ inline: '{}', context: undefined }))
  assert.throws(() => readSettings({ env, file: '/nowhere' }), /^SettingsError: Error reading config file: \/nowhere$/)
  assert.throws(() => readSettings({ env, file: file({}, { kind: 'Tier' }) }), /is no CalicoAPIConfig/)
})

test('an endpoint with certificates or a token is as good as a kubeconfig', async () => {
  const settings = readSettings({
    env: { K8S_API_ENDPOINT: 'https://10.0.0.1:6443/', K8S_API_TOKEN: 'secret', K8S_INSECURE_SKIP_TLS_VERIFY: 'true' },
  })
  assert.ok(settings.type === 'kubernetes')
  const credentials = await readCredentials(settings.source)
  assert.equal(credentials.server, 'https://10.0.0.1:6443')
  assert.deepEqual((await credentials.access()).headers, { Authorization: 'Bearer secret' })
})
