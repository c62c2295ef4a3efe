// Where the datastore and the agents are, and how to reach them; what is not there is said in one sentence with the fix.
import { connect } from 'node:net'
import path from 'node:path'
import { openEmbedded } from '../../io/store/embedded.ts'
import { readSettings, type Settings, SettingsError } from '../../io/store/settings.ts'
import { type Client, openClient } from './client.ts'
import { CommandError } from './terminal.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** The directory of the sockets of everything that runs on this host. */
export const runDirectory = (env: Environment): string => env.GINGHAM_RUN || '/run/gingham'

/** GINGHAM_DATASTORE, else `datastore.sock` in the run directory. */
export const datastoreSocket = (env: Environment): string =>
  env.GINGHAM_DATASTORE || path.join(runDirectory(env), 'datastore.sock')

/** Whether somebody listens at a unix socket: the error's code if not. */
function knock(socketPath: string): Promise<string | undefined> {
  return new Promise(resolve => {
    const socket = connect(socketPath)
    socket.once('connect', () => {
      socket.destroy()
      resolve(undefined)
    })
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
  })
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'start the lab with npm start, or set GINGHAM_DATASTORE',
  ECONNREFUSED: 'it is not running: start the lab with npm start, or set GINGHAM_DATASTORE',
  EACCES: 'no permission to open it: run as root',
  ENOTSOCK: 'that is no socket: set GINGHAM_DATASTORE to the socket of the datastore',
}

/** What a command line says of the datastore. */
export type Chosen = {
  readonly config?: string | undefined
  readonly context?: string | undefined
}

function settingsOf(env: Environment, { config, context }: Chosen): Settings {
  try {
    return readSettings({ env, file: config, context })
  } catch (error) {
    if (error instanceof SettingsError) throw new CommandError(error.message)
    throw error
  }
}

/** Opens the datastore that settings and environment name. Throws a CommandError at once if nobody is there. */
export async function connectDatastore(env: Environment, chosen: Chosen = {}): Promise<Client> {
  const settings = settingsOf(env, chosen)
  if (settings.type === 'kubernetes') {
    const { openKubernetes } = await import('../../io/store/open-kubernetes.ts')
    try {
      // A person waits: one who asks again does it himself.
      return openClient(await openKubernetes(settings.source, { attempts: 3 }))
    } catch (error) {
      throw new CommandError(`no way to the Kubernetes API server: ${(error as Error).message}`)
    }
  }
  const socket = datastoreSocket(env)
  const code = await knock(socket)
  if (code !== undefined) throw new CommandError(`no datastore at ${socket}: ${REASONS[code] ?? code}`)
  return openClient(openEmbedded({ socket }))
}
