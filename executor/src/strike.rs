//! The supervising shell of scripts that are given secrets: what they print is struck out before it reaches a file.
//!
//! The script writes into pipes; for each a small loop in the same session reads line by line, and outlives this process
//! as the script does. A line that nobody can guess says when the script has ended, so that what it left running in the
//! background, which may hold the pipes open, is not waited for.

use crate::secrets::Redactor;
use std::ffi::OsString;
use std::io;

/// As [`crate::script`]'s own, with the loops between. The variables with secrets are gone when the script starts.
pub(crate) const SUPERVISOR: &str = r#"trap : TERM INT HUP
echo $$ >"$1/started" || exit 1
strike() {
    trap '' TERM INT HUP
    while IFS= read -r line || [ -n "$line" ]; do
        last=
        case $line in *"$LOCKSTEP_END") last=1 line=${line%"$LOCKSTEP_END"} ;; esac
        n=1
        while [ "$n" -le "$LOCKSTEP_STRIKE" ]; do
            eval "piece=\$LOCKSTEP_STRIKE_$n"
            struck=
            while :; do
                case $line in
                    *"$piece"*) struck=$struck${line%%"$piece"*}'***' line=${line#*"$piece"} ;;
                    *) break ;;
                esac
            done
            line=$struck$line n=$((n + 1))
        done
        if [ -z "$last" ]; then
            printf '%s\n' "$line"
        else
            printf '%s' "$line"
            echo >"$1/struck"
        fi
    done
}
rm -f "$1/out" "$1/err" "$1/struck" && mkfifo "$1/out" "$1/err" "$1/struck" || exit 1
exec 6<>"$1/struck"
strike "$1" <"$1/out" >"$1/stdout" 6>&- &
strike "$1" <"$1/err" >"$1/stderr" 6>&- &
exec 4>"$1/out" 5>"$1/err"
end=$LOCKSTEP_END
while [ "$LOCKSTEP_STRIKE" -gt 0 ]; do
    unset "LOCKSTEP_STRIKE_$LOCKSTEP_STRIKE"
    LOCKSTEP_STRIKE=$((LOCKSTEP_STRIKE - 1))
done
unset LOCKSTEP_STRIKE LOCKSTEP_END
sh "$1/script" </dev/null >&4 2>&5 4>&- 5>&- 6>&-
code=$?
echo "$end" >&4
echo "$end" >&5
read -r line <&6
read -r line <&6
rm -f "$1/out" "$1/err" "$1/struck"
echo "$code" >"$1/exit""#;

/// What the loops are told, by variables: an argument could be seen by everybody.
pub(crate) fn environment(redactor: &Redactor) -> io::Result<Vec<(String, OsString)>> {
    let mut token = [0u8; 16];
    getrandom::fill(&mut token).map_err(io::Error::other)?;
    let token: String = token.iter().map(|byte| format!("{byte:02x}")).collect();
    // Nothing that is read line by line holds a secret of several lines; its lines are pieces of their own.
    let pieces: Vec<&str> = redactor.pieces().filter(|piece| !piece.contains(['\n', '\0'])).collect();
    let mut environment = vec![
        ("LOCKSTEP_END".to_owned(), token.into()),
        ("LOCKSTEP_STRIKE".to_owned(), pieces.len().to_string().into()),
    ];
    let numbered = pieces.iter().enumerate();
    environment.extend(numbered.map(|(at, piece)| (format!("LOCKSTEP_STRIKE_{}", at + 1), piece.into())));
    Ok(environment)
}
