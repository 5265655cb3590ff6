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
	# bash replaces only what comes after the last of those characters.
	local current=${words[n - 1]} kept=
	[[ $current == *[:=@]* ]] && kept=${current%"${current##*[:=@]}"}
	COMPREPLY=()
	while IFS= read -r line; do
		word=${line%%$'\t'*}
		COMPREPLY+=("${word#"$kept"}")
	done < <("${words[0]}" complete -- "${words[@]:1}" 2>/dev/null)
	# A word that ends with an @ goes on.
	if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *@ ]]; then
		compopt -o nospace
	fi
}

complete -o default -F _refship refship
