import { type Command, EXIT, parse, UsageError } from './command.ts'

const SHELLS = ['bash', 'zsh', 'fish'] as const

const HELP = `Usage: glimpse completion <shell>

Prints a script that completes commands and options. <shell> is ${SHELLS.join(', ')}.

Examples:
  source <(glimpse completion bash)                            # in ~/.bashrc
  glimpse completion zsh > "\${fpath[1]}/_glimpse"
  glimpse completion fish > ~/.config/fish/completions/glimpse.fish

Exit codes: 0 printed, 2 called wrongly.
`

/** Commands with their options, read from their help, so that the two never differ. */
type Words = ReadonlyMap<string, readonly string[]>

/** @param commands each command's name with its help */
export function createCompletion(commands: () => Promise<ReadonlyMap<string, string>>): Command {
  return {
    help: HELP,
    async run(args, { stdout }) {
      const { positionals } = parse(args, {})
      const shell = SHELLS.find((name) => name === positionals[0])
      if (shell === undefined || positionals.length > 1)
        throw new UsageError(`name one shell: ${SHELLS.join(', ')}`)
      const words = new Map([...(await commands())].map(([name, help]) => [name, optionsIn(help)]))
      stdout.write(SCRIPTS[shell](words))
      return EXIT.ok
    },
  }
}

export function optionsIn(help: string): string[] {
  return [
    ...new Set([...help.matchAll(/(?<![\w-])--[a-z][a-z-]*/g)].map(([option]) => option)),
    '--help',
  ].filter((option, i, all) => all.indexOf(option) === i)
}

const SCRIPTS: Readonly<Record<(typeof SHELLS)[number], (words: Words) => string>> = {
  bash: (words) => `_glimpse() {
  local word="\${COMP_WORDS[COMP_CWORD]}" options=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    options="${[...words.keys()].join(' ')}"
  else
    case "\${COMP_WORDS[1]}" in
${[...words].map(([name, options]) => `      ${name}) options="${options.join(' ')}" ;;`).join('\n')}
    esac
  fi
  COMPREPLY=($(compgen -W "$options" -- "$word"))
}
complete -F _glimpse glimpse
`,
  zsh: (words) => `#compdef glimpse
if (( CURRENT == 2 )); then
  compadd -- ${[...words.keys()].join(' ')}
else
  case "\${words[2]}" in
${[...words].map(([name, options]) => `    ${name}) compadd -- ${options.join(' ')} ;;`).join('\n')}
  esac
fi
`,
  fish: (words) =>
    `complete -c glimpse -f\ncomplete -c glimpse -n __fish_use_subcommand -a '${[...words.keys()].join(' ')}'\n${[
      ...words,
    ]
      .flatMap(([name, options]) =>
        options.map(
          (option) => `complete -c glimpse -n '__fish_seen_subcommand_from ${name}' -l ${option.slice(2)}\n`,
        ),
      )
      .join('')}`,
}
