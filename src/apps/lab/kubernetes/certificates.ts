// The certificates of a control plane that lives for one lab: authorities, servers, clients and the keys of service accounts,
// made with `openssl` into one folder. Nothing of them is kept or trusted anywhere else.
import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const DAYS = '365'

export type Leaf = {
  readonly authority: 'ca' | 'front-proxy-ca'
  readonly name: string
  readonly user: string
  readonly groups?: readonly string[]
  readonly usage: 'serverAuth' | 'clientAuth' | 'clientAuth,serverAuth'
  /** `IP:127.0.0.1`, `DNS:localhost`. */
  readonly alternatives?: readonly string[]
}

const ADMINISTRATORS = 'system:masters'

/** Who must show a certificate in every cluster. `addresses` are those that clients reach the API server at. */
const leaves = (addresses: readonly string[]): readonly Leaf[] => [
  {
    authority: 'ca',
    name: 'apiserver',
    user: 'kube-apiserver',
    usage: 'serverAuth',
    alternatives: [
      ...['kubernetes', 'kubernetes.default', 'kubernetes.default.svc', 'localhost'].map(name => `DNS:${name}`),
      'DNS:kubernetes.default.svc.cluster.local',
      ...addresses.map(address => `IP:${address}`),
    ],
  },
  {
    authority: 'ca',
    name: 'apiserver-kubelet',
    user: 'apiserver-kubelet',
    groups: [ADMINISTRATORS],
    usage: 'clientAuth',
  },
  { authority: 'front-proxy-ca', name: 'front-proxy', user: 'front-proxy-client', usage: 'clientAuth' },
  { authority: 'ca', name: 'admin', user: 'admin', groups: [ADMINISTRATORS], usage: 'clientAuth' },
]

async function makeKey(folder: string, name: string): Promise<void> {
  await run('openssl', ['ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', join(folder, `${name}.key`)])
}

async function makeAuthority(folder: string, name: string): Promise<void> {
  await makeKey(folder, name)
  const extensions = ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign,cRLSign,digitalSignature']
  await run('openssl', [
    ...['req', '-x509', '-new', '-key', join(folder, `${name}.key`), '-days', DAYS, '-subj', `/CN=${name}`],
    ...extensions.flatMap(extension => ['-addext', extension]),
    ...['-out', join(folder, `${name}.crt`)],
  ])
}

export async function makeLeaf(folder: string, leaf: Leaf): Promise<void> {
  const { authority, name, user, groups = [], usage, alternatives = [] } = leaf
  const file = (extension: string): string => join(folder, `${name}.${extension}`)
  await makeKey(folder, name)
  const lines = [
    'basicConstraints=CA:FALSE',
    'keyUsage=critical,digitalSignature,keyEncipherment',
    `extendedKeyUsage=${usage}`,
    ...(alternatives.length > 0 ? [`subjectAltName=${alternatives.join(',')}`] : []),
  ]
  writeFileSync(file('ext'), `${lines.join('\n')}\n`)
  const subject = [...groups.map(group => `/O=${group}`), `/CN=${user}`].join('')
  await run('openssl', ['req', '-new', '-key', file('key'), '-subj', subject, '-out', file('csr')])
  await run('openssl', [
    ...['x509', '-req', '-in', file('csr'), '-days', DAYS, '-extfile', file('ext'), '-out', file('crt')],
    ...['-CA', join(folder, `${authority}.crt`), '-CAkey', join(folder, `${authority}.key`)],
    // Serial numbers by chance: several certificates are made at once.
    ...['-set_serial', `0x${Buffer.from(crypto.getRandomValues(new Uint8Array(15))).toString('hex')}`],
  ])
}

/** Makes all that a control plane needs: NAME.crt and NAME.key in the folder, and `sa.key`, `sa.pub` for tokens. */
export async function makeCertificates(folder: string, addresses: readonly string[]): Promise<void> {
  await Promise.all([makeAuthority(folder, 'ca'), makeAuthority(folder, 'front-proxy-ca'), makeKey(folder, 'sa')])
  await Promise.all([
    ...leaves(addresses).map(leaf => makeLeaf(folder, leaf)),
    run('openssl', ['ec', '-in', join(folder, 'sa.key'), '-pubout', '-out', join(folder, 'sa.pub')]),
  ])
}

/** A kubeconfig with one user, everything inside. */
export function kubeconfig(server: string, folder: string, user = 'admin'): string {
  const inline = (file: string): string => readFileSync(join(folder, file)).toString('base64')
  return JSON.stringify(
    {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'lab', cluster: { server, 'certificate-authority-data': inline('ca.crt') } }],
      users: [
        {
          name: user,
          user: { 'client-certificate-data': inline(`${user}.crt`), 'client-key-data': inline(`${user}.key`) },
        },
      ],
      contexts: [{ name: 'lab', context: { cluster: 'lab', user } }],
      'current-context': 'lab',
    },
    undefined,
    2,
  )
}
