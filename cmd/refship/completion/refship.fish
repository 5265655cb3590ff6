# fish completion for refship; refship completion fish prints it.

function __refship_offers
    set -l words (commandline -opc) (commandline -ct)
    $words[1] complete -- $words[2..-1] 2>/dev/null
end

function __refship_has_offers
    set -l offers (__refship_offers)
    test (count $offers) -gt 0
end

complete -c refship -e
complete -c refship -k -f -n __refship_has_offers -a '(__refship_offers)'
complete -c refship -F -n 'not __refship_has_offers'
