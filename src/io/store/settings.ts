// Which datastore, and how to reach it, in calicoctl's words: a CalicoAPIConfig file, or the environment. A file that is there
// speaks alone; without one the environment does.
import { existsSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { parse } from 'yaml'
import type { CredentialSource } from '../kubernetes/credentials.ts'

export type Environment = Readonly<Record<string, string | undefined>>

export type Settings =
  | { readonly type: 'embedded' }
  | { readonly type: 'kubernetes'; readonly source: CredentialSource }

/** Something about the settings that the user can mend. */
export class SettingsError extends Error {
  override name = 'SettingsError'
}

/** calicoctl's default place. */
const DEFAULT_FILE = '/etc/calico/calicoctl.cfg'
const API_VERSION = 'projectcalico.org/v3'

/** Keys of the file, and the environment's names for the same. */
const NAMES = {
  datastoreType: 'DATASTORE_TYPE',
  kubeconfig: 'KUBECONFIG',
  kubeconfigInline: undefined,
  k8sAPIEndpoint: 'K8S_API_ENDPOINT',
  k8sKeyFile: 'K8S_KEY_FILE',
  k8sCertFile: 'K8S_CERT_FILE',
  k8sCAFile: 'K8S_CA_FILE',
  k8sAPIToken: 'K8S_API_TOKEN',
  k8sInsecureSkipTLSVerify: 'K8S_INSECURE_SKIP_TLS_VERIFY',
  k8sCurrentContext: 'K8S_CURRENT_CONTEXT',
} as const

type Name = keyof typeof NAMES
type Values = { readonly [name in Name]?: string }

function fromEnvironment(env: Environment): Values {
  return Object.fromEntries(
    Object.entries(NAMES).flatMap(([name, variable]) => {
      const value = variable && (env[variable] || env[`CALICO_${variable}`])
      return value ? [[name, value]] : []
    }),
  )
}

function fromFile(file: string): Values {
  let document: unknown
  try {
    document = parse(readFileSync(file, 'utf8'))
  } catch {
    throw new SettingsError(`Error reading config file: ${file}`)
  }
  const { kind, apiVersion, spec } = (document ?? {}) as { kind?: unknown; apiVersion?: unknown; spec?: unknown }
  if (kind !== 'CalicoAPIConfig' || apiVersion !== API_VERSION)
    throw new SettingsError(`${file} is no CalicoAPIConfig of ${API_VERSION}`)
  const values = Object.entries((spec ?? {}) as object).filter(([name]) => Object.hasOwn(NAMES, name))
  return Object.fromEntries(values.map(([name, value]) => [name, String(value)]))
}

export type SettingsOptions = {
  readonly env: Environment
  /** `--config`; a file that is named must be there. */
  readonly file?: string | undefined
  /** `--context`. */
  readonly context?: string | undefined
}

/** Throws a `SettingsError`. */
export function readSettings({ env, file, context }: SettingsOptions): Settings {
  if (file !== undefined && !existsSync(file)) throw new SettingsError(`Error reading config file: ${file}`)
  const path = file ?? (existsSync(DEFAULT_FILE) ? DEFAULT_FILE : undefined)
  const values = path === undefined ? fromEnvironment(env) : fromFile(path)
  switch (values.datastoreType) {
    case 'kubernetes':
      return { type: 'kubernetes', source: sourceOf(values, env, context) }
    case 'embedded':
      return { type: 'embedded' }
    case undefined: {
      // Whoever names a socket of ours means it; a kubeconfig is named for this or for other programs.
      const isOurs = env.GINGHAM_DATASTORE !== undefined || env.GINGHAM_RUN !== undefined
      const named = values.kubeconfig ?? values.kubeconfigInline ?? values.k8sAPIEndpoint
      return isOurs || named === undefined
        ? { type: 'embedded' }
        : { type: 'kubernetes', source: sourceOf(values, env, context) }
    }
    case 'etcdv3':
      throw new SettingsError('the datastore type etcdv3 is not supported yet (fix: kubernetes or embedded)')
    default:
      throw new SettingsError(`unknown datastore type ${values.datastoreType} (fix: kubernetes or embedded)`)
  }
}

function sourceOf(values: Values, env: Environment, chosen: string | undefined): CredentialSource {
  const context = chosen ?? values.k8sCurrentContext
  if (values.kubeconfigInline) return { inline: values.kubeconfigInline, context }
  // A list of files, as kubectl takes it: the first that is there.
  const files = values.kubeconfig?.split(':').filter(file => file !== '') ?? []
  const kubeconfig = files.find(existsSync) ?? files[0]
  if (kubeconfig !== undefined) {
    if (!existsSync(kubeconfig)) throw new SettingsError(`there is no kubeconfig ${kubeconfig}`)
    return { kubeconfig, context }
  }
  if (values.k8sAPIEndpoint) return { inline: endpointConfig(values) }
  if (env.KUBERNETES_SERVICE_HOST) return { inCluster: true }
  const own = join(env.HOME ?? homedir(), '.kube', 'config')
  if (existsSync(own)) return { kubeconfig: own, context }
  throw new SettingsError('no way to a Kubernetes API server (fix: set KUBECONFIG, or kubeconfig in the config file)')
}

/** A kubeconfig that says what the single settings say. */
function endpointConfig(values: Values): string {
  const { k8sAPIEndpoint: server, k8sCAFile, k8sCertFile, k8sKeyFile, k8sAPIToken, k8sInsecureSkipTLSVerify } = values
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: 'endpoint',
        cluster: {
          server,
          'certificate-authority': k8sCAFile,
          'insecure-skip-tls-verify': k8sInsecureSkipTLSVerify === 'true',
        },
      },
    ],
    users: [
      { name: 'user', user: { 'client-certificate': k8sCertFile, 'client-key': k8sKeyFile, token: k8sAPIToken } },
    ],
    contexts: [{ name: 'context', context: { cluster: 'endpoint', user: 'user' } }],
    'current-context': 'context',
  })
}
