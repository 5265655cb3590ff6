# bash completion for refship; refship completion bash prints it.

_refship() {
	local words=() n=0 i word line rest=$COMP_LINE
	# bash splits words at : = and @, too: what has no blank between is one word.
	for ((i = 0; i <= COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		if [[ $n -gt 0 && -n $rest && $rest != [[:space:]]* ]]; then
			words[n - 1]+=$word
		else
			words[n++]=$word
		fi
		rest=${rest#"${rest%%[![:space:]]*}"}
		rest=${rest#"$word"}
	done
	# bash replaces only what comes after the last of those characters, but with an @ that it takes for a host's.
	local current=${words[n - 1]} kept= breaks=${COMP_WORDBREAKS//[^:=@]/}
	if [[ -n $breaks && $current == *["$breaks"]* ]]; then
		kept=${current%"${current##*["$breaks"]}"}
		kept=${kept%@}
	fi
	COMPREPLY=()
	while IFS= read -r line; do
		word=${line%%$'\t'*}
		COMPREPLY+=("${word#"$kept"}")
	done < <("${words[0]}" complete -- "${words[@]:1}" 2>/dev/null)
}

complete -o default -F _refship refship
