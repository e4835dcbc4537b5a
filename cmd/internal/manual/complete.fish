# fish completion of NAME, which answers itself what may come next.
# For this shell: NAME completion fish | source

function __NAME_complete
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    # The value of --flag=value.
    set -l flag (string match -r -- '^--[^=]+=' $current)
    set -l value (string replace -r -- '^--[^=]+=' '' $current)
    for line in ($before[1] __complete fish -- $before[2..-1] "$current" 2>/dev/null)
        switch $line
            case ':folders'
                for file in (__fish_complete_directories "$value" '')
                    printf '%s\n' "$flag$file"
                end
            case ':files*'
                set -l extensions (string split -n ' ' (string replace -- ':files' '' $line))
                for file in (__fish_complete_path "$value")
                    set -l name (string split \t $file)[1]
                    set -l extension (string lower -- (string replace -r -- '.*\.' '' $name))
                    if test (count $extensions) -eq 0; or contains -- $extension $extensions; or string match -q -- '*/' $name
                        printf '%s\n' "$flag$name"
                    end
                end
            case '*'
                printf '%s\n' $line
        end
    end
end
complete -c NAME -f -a '(__NAME_complete)'
