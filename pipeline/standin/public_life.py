"""Subjects out of the house: weather, work, money, travel, school, stages, the town."""

from pipeline.standin.group import Group

PUBLIC = {
    "weather": (
        Group(
            "rain umbrella storm thunder puddle flood drizzle cloud shower lightning hail "
            "raincoat gutter",
            "rained raining rains rainy wet damp soaked cloudy",
            "made the ducks very happy | reminded Noah of something | soaked everyone but the fish",
            "Ducks sent a thank-you card.",
        ),
        Group(
            "snow ice frost winter icicle january december february blizzard sled cold",
            "snowed icy froze frozen freeze freezing ski chilly shiver",
            "gave the penguins ideas | left the snowman speechless",
            "Penguins are asking about the rent.",
        ),
        Group(
            "summer sun heat humidity july august sunshine degrees heatwave sunburn thermometer "
            "sunset sunrise fan",
            "hot sunny warm humid sweat",
            "could fry an egg | sent the devil looking for shade",
            "Even the devil bought a fan.",
        ),
        Group(
            "wind fog forecast weather breeze gust temperature sky autumn spring rainbow april "
            "march october november september",
            "windy foggy mild blew",
            "surprised the weatherman again | blew the forecast away",
            "Weathermen have gone into hiding.",
        ),
    ),
    "work": (
        Group(
            "office boss meeting manager colleague coworker report deadline presentation team "
            "budget client conference spreadsheet agenda department folder document stapler "
            "cubicle project workplace",
            "",
            "could have been an email | called for another meeting | circled back to nothing",
            "Spreadsheets wept quietly.",
        ),
        Group(
            "job interview salary resume shift company staff supervisor career promotion intern "
            "work employee overtime uniform",
            "retired hired fired worked works working",
            "asked Human Resources for help | took Friday off",
            "Human Resources opened a file.",
        ),
    ),
    "money": (
        Group(
            "shop store supermarket grocery groceries market sale cashier checkout receipt aisle "
            "mall customer cart basket shopper coupon voucher refund discount price label",
            "bought buy buying shopping sell sells sold",
            "cost half the day after | emptied my wallet again | came two for one",
            "Impulse control was out of stock.",
        ),
        Group(
            "bank bill dollar money tax taxes loan mortgage insurance savings fee fine coin cash "
            "cent wallet euro pound debt cost",
            "pay paid pays costs expensive cheap afford",
            "made my piggy bank cry | collected interest in me",
            "Millionaires do it differently.",
        ),
    ),
    "travel": (
        Group(
            "flight airport plane passport suitcase luggage airline pilot baggage runway takeoff "
            "departure visa",
            "flew fly flying boarding customs",
            "landed in the wrong country | saw more of the world than I did",
            "Turbulence felt personal.",
        ),
        Group(
            "hotel vacation holiday trip tourist guide postcard map travel tour guesthouse hostel "
            "souvenir honeymoon cruise resort bag backpack",
            "abroad pack packed packing",
            "looked better in the brochure | stole the hotel towels",
            "Brochures told another story.",
        ),
        Group(
            "train bus station platform ticket tram railway carriage ferry subway timetable "
            "commuter conductor seat passenger rail route coach stop",
            "delayed",
            "blamed leaves on the line | arrived an hour late",
            "Conductors blame the leaves.",
        ),
        Group(
            "car driver traffic parking road tire tyre truck highway license mechanic motorway "
            "trunk van fuel petrol brake windshield taxi roundabout engine",
            "drive drives drove driving park parked roadworks",
            "honked at a pedestrian | failed the driving test | took the last parking spot",
            "Satnavs are recalculating my life.",
        ),
        Group(
            "bike bicycle pedal helmet cyclist scooter wheel chain skateboard",
            "cycle cycling",
            "went back to training wheels | looked silly in Lycra",
            "Lycra was a mistake.",
        ),
    ),
    "animals": (
        Group(
            "dog puppy leash bark poodle vet groomer bone terrier collar stick paw labrador "
            "beagle kennel tail",
            "barked barks fetch",
            "chased a squirrel up the tree | refused to sit and stay | buried the evidence",
            "Good boys everywhere are wagging.",
        ),
        Group(
            "cat kitten litter whisker fur tabby catnip",
            "purr purrs purring scratching meow",
            "landed on all four feet | had eight lives left | ignored us on purpose",
            "Nine lives and zero apologies.",
        ),
        Group(
            "bird spider goat rabbit duck deer horse cow bee squirrel hamster parrot farm farmer "
            "zoo fox frog heron swan pigeon snail mice sheep pig hen owl wasp ant butterfly "
            "turtle animal aquarium goldfish feeder",
            "",
            "missed the boat with Noah | asked for a nature documentary",
            "Noah sent that one back.",
        ),
    ),
    "garden": (
        Group(
            "garden plant flower tree lawn leaves leaf seed rose tulip bulb herb soil grass root "
            "weed hedge shrub rake fern cactus mint basil lily florist bouquet orchid compost "
            "greenhouse gardener branch ivy",
            "planted bloom bloomed watered watering prune",
            "lost an argument with the weeds | grew on me after a while | scared the garden gnome",
            "Weeds are thrilled.",
        ),
    ),
    "school": (
        Group(
            "school class teacher exam homework student lesson essay lecture kindergarten history "
            "maths math pupil classroom college university test grade mark professor pencil pen "
            "science semester notebook paper",
            "learn learned taught studied",
            "ended up inside the dog | got detention for it | copied from the next desk",
            "Detention was educational.",
        ),
        Group(
            "language word dictionary grammar verb accent vocabulary spelling phrase noun",
            "french spanish german english italian japanese translate pronounce speak",
            "got lost in translation | made the grammar teacher faint",
            "Shakespeare asked for subtitles.",
        ),
        Group(
            "book library novel page chapter author magazine newspaper story bookmark librarian "
            "poem paperback",
            "read reads reading",
            "knew that the butler did it | skipped to the last page",
            "Spoilers: the butler did it.",
        ),
    ),
    "screens and stages": (
        Group(
            "film movie television episode cinema theater theatre show actor channel scene series "
            "director trailer tv documentary subtitles remote ending",
            "watch watched watching",
            "got robbed at the Oscars | left room for a sequel | fell asleep before the credits",
            "Hollywood wants the rights.",
        ),
        Group(
            "music song piano guitar choir concert band violin drum radio melody orchestra "
            "trumpet flute record album chorus duet singer",
            "sing sang singing",
            "went slightly out of tune | made Beethoven lucky | got stuck in my head",
            "Earplugs are sold out.",
        ),
        Group(
            "football team match goal coach score player league hockey baseball season tennis "
            "basketball volleyball soccer golf referee inning stadium rowing ball scoreboard game "
            "race quarterback",
            "win won lost",
            "argued with the referee | went into extra time | took one for the team",
            "Referees need new glasses.",
        ),
        Group(
            "chess cards puzzle dice jigsaw poker deck crossword",
            "",
            "flipped the board and left | cheated at solitaire",
            "Monopoly ruined friendships for less.",
        ),
        Group(
            "photo picture camera museum gallery photographer exhibition portrait sketch frame "
            "brush landscape statue pottery photograph sculpture artist drawing",
            "drew",
            "blinked in the only good shot | hung upside down for a week",
            "Picasso wants his eyes back.",
        ),
    ),
    "town": (
        Group(
            "mail letter parcel package post postman envelope stamp mailman delivery courier",
            "delivered",
            "lost a race to a pigeon | got returned to sender",
            "Pigeons would be faster.",
        ),
        Group(
            "queue line minutes minute hour hours delay",
            "wait waits waited waiting late early slow slowly",
            "moved like a tired glacier | let a snail go first",
            "Glaciers move with more purpose.",
        ),
        Group(
            "street town city mayor council bridge square corner sidewalk village community "
            "fountain streetlight avenue lane police",
            "local",
            "put up a statue to it | voted for a new mayor",
            "Mayors blame the pigeons.",
        ),
        Group(
            "visitors visitor residents resident passengers customers hall reception entrance "
            "exit register notice announcement",
            "please closed closes opening opens public reopen",
            "asked to speak to the manager | signed the complaints book",
            "Complaints may be sung at the desk.",
        ),
    ),
    "outdoors": (
        Group(
            "lake river sea boat harbor beach ocean coast sand wave shore sail canal kayak pond "
            "lighthouse harbour",
            "swim",
            "got swallowed by a whale | got seasick in the bath",
            "Seagulls took a vote.",
        ),
        Group(
            "trail hill mountain campfire tent forest park path walk ridge valley camp cabin "
            "scout woods",
            "hike hiking camping walked walks climb climbed",
            "got three stars from a bear | fed a thousand mosquitoes",
            "Mosquitoes enjoyed the buffet.",
        ),
    ),
}
