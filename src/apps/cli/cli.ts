// The command tree, and one run of it. What the commands do is in their own files; here they are put together.
import { Command, CommanderError } from 'commander'
import type { Chosen } from './connect.ts'
import { addCrdsCommand } from './crds.ts'
import { addInstallCommands } from './install.ts'
import { addQuestionCommands } from './question-commands.ts'
import { addResourceCommands } from './resource-commands.ts'
import { examples, type Surroundings } from './surroundings.ts'
import { CommandError } from './terminal.ts'

/** Builds the program around what it may touch. */
export function program(surroundings: Surroundings): Command {
  const root = new Command('gingham')
  root
    .description('Networking and network security for Kubernetes and Linux hosts, compatible with Calico.')
    .option('-l, --log-level <level>', 'accepted and not needed')
    .option('--context <name>', 'the context of the kubeconfig')
    .option('--allow-version-mismatch', 'accepted and not needed')
    .addHelpText(
      'after',
      examples(
        'gingham apply -f examples/allow-backend-to-frontend.yaml',
        'gingham get pods -A',
        'gingham why default/frontend default/backend tcp/80',
        'gingham status',
      ),
    )
  let current: Chosen = {}
  root.hook('preAction', (_root, command) => {
    current = command.optsWithGlobals<Chosen>()
  })
  const connected: Surroundings = { ...surroundings, connect: () => surroundings.connect(current) }
  addResourceCommands(root, connected)
  addQuestionCommands(root, connected)
  addCrdsCommand(root, surroundings)
  addInstallCommands(root, surroundings)
  for (const command of leaves(root)) {
    command.option('-c, --config <file>', 'where the datastore is (a CalicoAPIConfig file)')
  }
  return root
}

const leaves = (command: Command): readonly Command[] =>
  command.commands.length === 0 ? [command] : command.commands.flatMap(leaves)

/** Runs one command line (without the program's name) and returns the exit code. Bugs throw. */
export async function run(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const { terminal } = surroundings
  const root = program(surroundings)
  const settle = (command: Command): void => {
    command.exitOverride().configureOutput({ writeOut: terminal.out, writeErr: terminal.err })
    for (const child of command.commands) settle(child)
  }
  settle(root)
  try {
    await root.parseAsync([...args], { from: 'user' })
    return 0
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode
    if (error instanceof CommandError) {
      terminal.err(`Error: ${error.message}\n`)
      return 1
    }
    throw error
  }
}
