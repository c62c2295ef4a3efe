// why, status, ipam, version: their flags and help.
import { type Command, CommanderError, InvalidArgumentError } from 'commander'
import { find } from '../../core/resources/resource.ts'
import { readInputs } from './input.ts'
import { ipamShow } from './ipam.ts'
import { readStatus } from './read-status.ts'
import { examples, type Surroundings, withClient } from './surroundings.ts'
import { CommandError } from './terminal.ts'
import { tryScenario } from './try.ts'
import { why } from './why.ts'

function port(text: string): number {
  const n = Number(text)
  if (!/^\d+$/.test(text) || n < 1 || n > 65535) throw new InvalidArgumentError('a port is a number from 1 to 65535')
  return n
}

type WhyFlags = {
  readonly namespace?: string
  readonly output: string
  readonly ipv4?: boolean
  readonly ipv6?: boolean
  readonly sourcePort: number
  readonly exitCode?: boolean
}

export function addQuestionCommands(root: Command, surroundings: Surroundings): void {
  const { terminal, agents, version } = surroundings

  root
    .command('why <source> <destination> <service>')
    .description('say whether a connection is allowed, which rule decides, and what came near')
    .option('-n, --namespace <namespace>', 'namespace of pods that are named without one (default)')
    .option('-o, --output <format>', 'text or json', 'text')
    .option('-4, --ipv4', 'IPv4 only')
    .option('-6, --ipv6', 'IPv6 only')
    .option('--source-port <port>', "the client's port, for rules that look at it", port, 49152)
    .option('--exit-code', 'exit with 2 if the connection is denied')
    .addHelpText(
      'after',
      `
SOURCE and DESTINATION are pods (namespace/name) or addresses; SERVICE is tcp/80, udp/53, tcp/http (a named port), icmp,
icmp/3/1, or protocol/47.
${examples(
  'gingham why default/frontend default/backend tcp/80',
  'gingham why default/client prod/db icmp -6',
  'gingham why 192.0.2.7 prod/backend tcp/http -o json',
)}`,
    )
    .action(async (source: string, destination: string, service: string, options: WhyFlags) => {
      if (options.ipv4 && options.ipv6) throw new CommandError('-4 and -6 exclude each other')
      const family = options.ipv4 ? 4 : options.ipv6 ? 6 : undefined
      const allowed = await withClient(surroundings, client =>
        why({ source, destination, service }, { client, agents, terminal, options: { ...options, family } }),
      )
      if (!allowed && options.exitCode) throw new CommanderError(2, 'gingham.denied', '')
    })

  root
    .command('try <files...>')
    .description('say what policies in files would decide, without a cluster')
    .option('-R, --recursive', 'directories of directories too', false)
    .addHelpText(
      'after',
      `
The files hold resources, and documents of kind Expect with flows, which are judged by what stands before them. Exit code 1
if one goes otherwise than expected. See examples/worked.
${examples('gingham try examples/worked', 'gingham try pods.yaml policies.yaml expected.yaml')}`,
    )
    .action(async (files: readonly string[], { recursive }: { recursive: boolean }) => {
      const inputs = await readInputs(files, { recursive, stdin: terminal.stdin })
      if (!tryScenario(inputs, terminal)) throw new CommanderError(1, 'gingham.unexpected', '')
    })

  root
    .command('status')
    .description('say how every node is, what is wrong, and what to do about it')
    .addHelpText(
      'after',
      examples('gingham status', 'gingham status -o json', 'until gingham status; do sleep 1; done'),
    )
    .option('-o, --output <format>', 'text, json or yaml', 'text')
    .action(async ({ output }: { output: string }) => {
      const ok = await readStatus({ connect: surroundings.connect, agents, terminal, output })
      if (!ok) throw new CommanderError(1, 'gingham.unready', '')
    })

  const ipam = root.command('ipam').description('addresses and the blocks they come from')
  ipam
    .command('show')
    .description('show how many addresses are used, or who has one')
    .option('--ip <address>', 'who has this address')
    .option('--show-blocks', 'the blocks of each pool too')
    .option('--show-borrowed', "addresses that nodes use out of others' blocks")
    .option('--show-configuration', 'the settings')
    .addHelpText('after', examples('gingham ipam show --show-blocks', 'gingham ipam show --ip 192.168.0.7'))
    .action(
      async (options: { ip?: string; showBlocks?: boolean; showBorrowed?: boolean; showConfiguration?: boolean }) => {
        const { ip, showBlocks = false, showBorrowed = false, showConfiguration = false } = options
        await withClient(surroundings, client =>
          ipamShow({ ip, showBlocks, showBorrowed, showConfiguration }, { client, terminal }),
        )
      },
    )

  root
    .command('version')
    .description('say which version this is, and the cluster')
    .option('--client', 'do not ask the cluster')
    .addHelpText('after', examples('gingham version', 'gingham version --client'))
    .action(async ({ client: only }: { client?: boolean }) => {
      terminal.out(`Client Version:    v${version}\n`)
      if (only) return
      const { resources } = await withClient(surroundings, client => client.read(['ClusterInformation']))
      const cluster = find(resources, 'ClusterInformation', { name: 'default' })?.spec
      terminal.out(
        `Cluster Version:   ${cluster?.calicoVersion ?? ''}\nCluster Type:      ${cluster?.clusterType ?? ''}\n`,
      )
    })
}
